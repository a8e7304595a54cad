import { Failure } from './failure'

/** The microphone; browsers ask before they give it. */
export async function microphone(device: string): Promise<MediaStream> {
  if (!navigator.mediaDevices) throw new Failure('insecure')
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: device ? { ...audio, deviceId: device } : audio })
  } catch {
    throw new Failure('microphone')
  }
}

/** The microphones that there are; they have names once one has been allowed. */
export async function microphones(): Promise<MediaDeviceInfo[]> {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? []
  return devices.filter((device) => device.kind === 'audioinput' && device.deviceId)
}

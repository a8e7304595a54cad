// The npm package `@openai/agents-realtime`: an agent is shown a picture, asked in words, interrupted aloud, and answers.
//
//     node agents_realtime.mjs BASE_URL SAMPLES
import { readFileSync } from "node:fs";
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from "@openai/agents-realtime";

const [base, samples] = process.argv.slice(2);
const url = `${base.replace("http", "ws")}/realtime?model=llava`;
const [BLOCK_MS, HEARD_MS] = [40, 700];
const size = 48 * BLOCK_MS;
const picture = `data:image/png;base64,${readFileSync(`${samples}/picture.png`).toString("base64")}`;
const speech = readFileSync(`${samples}/follow_up.wav`).subarray(44);

const transport = new OpenAIRealtimeWebSocket({ url });
const agent = new RealtimeAgent({ name: "Eye", instructions: "Answer briefly." });
const session = new RealtimeSession(agent, { transport, model: "llava" });
const [sound, kinds, errors] = [[], [], []];
let [spoken, waiting, interrupted, heard] = [[], Buffer.alloc(0), 0, false];

session.on("error", (event) => errors.push(JSON.stringify(event.error?.error ?? String(event.error))));
session.on("audio_interrupted", () => (interrupted += 1));
transport.on("*", (event) => kinds.push(event.type));
transport.on("audio", (event) => {
  spoken.push(Buffer.from(event.data));
  if (!heard) setTimeout(() => (waiting = speech), HEARD_MS);
  heard = true;
});
const done = new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error(`no second answer: ${errors} ${kinds}`)), 90_000).unref();
  transport.on("audio_done", () => {
    sound.push(Buffer.concat(spoken).toString("base64"));
    spoken = [];
    if (sound.length === 2) setTimeout(resolve, 1000);
  });
});

await session.connect({ apiKey: "none" });
const content = [
  { type: "input_image", image: picture },
  { type: "input_text", text: "What color is the circle?" },
];
session.sendMessage({ type: "message", role: "user", content });
const microphone = setInterval(() => {
  const block = Buffer.alloc(size);
  waiting.copy(block, 0, 0, size);
  waiting = waiting.subarray(size);
  session.sendAudio(block.buffer.slice(block.byteOffset, block.byteOffset + size));
}, BLOCK_MS);
await done;
clearInterval(microphone);
const answers = session.history
  .filter((item) => item.type === "message" && item.role === "assistant")
  .map((item) => item.content.map((part) => part.transcript ?? part.text ?? "").join(""));
session.close();
process.stdout.write(JSON.stringify({ answers, sound, interrupted, errors }), () => process.exit(0));

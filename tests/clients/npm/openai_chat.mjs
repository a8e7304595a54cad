// The npm package `openai`: models, a picture in a chat, streamed too, and speech.
// node openai_chat.mjs BASE_URL SAMPLES
import { createReadStream, readFileSync } from "node:fs";
import OpenAI from "openai";

const [baseURL, samples] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const url = "data:image/png;base64," + readFileSync(`${samples}/picture.png`).toString("base64");
const messages = [
  { role: "user", content: [{ type: "image_url", image_url: { url } }, { type: "text", text: "What color is the circle?" }] },
];

const models = [];
for await (const model of client.models.list()) models.push(model.id);
const chat = await client.chat.completions.create({ model: "llava", messages });
const pieces = [];
for await (const chunk of await client.chat.completions.create({ model: "llava", messages, stream: true }))
  pieces.push(chunk.choices[0]?.delta?.content ?? "");
const speech = await client.audio.speech.create({ model: "tts", voice: "alloy", input: "The circle is red.", response_format: "wav" });
const heard = await client.audio.transcriptions.create({ model: "whisper", file: createReadStream(`${samples}/question.wav`) });
console.log(
  JSON.stringify({
    models,
    chat: chat.choices[0].message.content,
    chat_stream: pieces,
    speech: Buffer.from(await speech.arrayBuffer()).toString("base64"),
    transcription: heard.text,
  }),
);

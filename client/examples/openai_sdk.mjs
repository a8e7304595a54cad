// The same with OpenAI's package for JavaScript (npm install openai).
// node client/examples/openai_sdk.mjs docs/demo_picture.png http://127.0.0.1:8080/v1
import { readFileSync, writeFileSync } from "node:fs";
import OpenAI from "openai";

const [picture, baseURL] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none" });
const url = "data:image/png;base64," + readFileSync(picture).toString("base64");
const content = [{ type: "image_url", image_url: { url } }, { type: "text", text: "What color is the circle?" }];

let answer = "";
for await (const chunk of await client.chat.completions.create({
  model: "llava",
  messages: [{ role: "user", content }],
  stream: true,
}))
  answer += chunk.choices[0].delta.content ?? "";
const spoken = await client.audio.speech.create({ model: "tts", voice: "alloy", input: answer });
writeFileSync("answer.mp3", Buffer.from(await spoken.arrayBuffer()));
const drawn = await client.images.generate({ model: "stable_diffusion", prompt: answer });
writeFileSync("answer.png", Buffer.from(drawn.data[0].b64_json, "base64"));
console.log(answer);

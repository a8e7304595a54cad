# The same with curl and jq.
# sh client/examples/curl.sh docs/demo_picture.png http://127.0.0.1:8080/v1
set -eu
picture=$1 server=$2
json='Content-Type: application/json'

answer=$(base64 "$picture" | tr -d '\n' | jq -Rs '{model: "llava", messages: [{role: "user", content: [
    {type: "image_url", image_url: {url: ("data:image/png;base64," + .)}},
    {type: "text", text: "What color is the circle?"}]}]}' |
  curl -sf "$server/chat/completions" -H "$json" -d @- | jq -r '.choices[0].message.content')
jq -n --arg text "$answer" '{model: "tts", voice: "alloy", input: $text}' |
  curl -sf "$server/audio/speech" -H "$json" -d @- > answer.mp3
jq -n --arg text "$answer" '{model: "stable_diffusion", prompt: $text}' |
  curl -sf "$server/images/generations" -H "$json" -d @- | jq -r '.data[0].b64_json' | base64 -d > answer.png
echo "$answer"

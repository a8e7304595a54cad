"""Ask about a picture, hear the answer, draw what it says: with the package `tritone-client`.

python client/examples/ask_and_hear.py docs/demo_picture.png localhost:8001
"""

import sys

from tritone_client import Client

picture, server = sys.argv[1:]
with Client(server) as client:
    answer = client.ask("What color is the circle?", image=picture).text
    client.speak(answer).save("answer.wav")
    client.generate_image(answer, seed=1).image.save("answer.png")
    print(answer)

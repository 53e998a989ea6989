# The part of ops/compose_check.sh, which reads this, about pictures and sound. It uses what is defined there.

# One out, for which a thumbnail is made, in a process that is isolated from its environment; one in, whose link has to
# work where the event arrives.
PICTURE=docs/images/dashboard-phone.png
link_of_picture() {
  stored "type=message.received&limit=1000" | python3 -c '
import json, sys
print(next(link for e in json.load(sys.stdin)["events"] if (link := e["body"]["data"].get("local_file_url"))))'
}
picture_readable() {
  compose exec -T receiver python -c '
import sys, urllib.request
sys.exit(len(urllib.request.urlopen(sys.argv[1], timeout=5).read()) != int(sys.argv[2]))' "$link" "$(stat -c %s $PICTURE)"
}
has_kind() { act "$sandbox/phones/$contact/messages?limit=1000" | grep --quiet "\"kind\": *\"$1\""; }
picture() {
  printf '{"instance_key": "%s", "phone": "%s", "type": "image", "base64": "%s"}' "${keys[0]}" "$contact" \
    "$(base64 -w 0 $PICTURE)" >"$folder/picture"
  until_so "a picture goes out" call -X POST "$api/message/send-media" -H "Idempotency-Key: picture" -d @"$folder/picture"
  until_so "the picture is on the phone" has_kind image
  printf '{"to": "%s", "kind": "image", "file": {"data": "%s", "mime": "image/png"}}' "$phone" "$(base64 -w 0 $PICTURE)" >"$folder/picture"
  act -X POST "$sandbox/phones/$contact/send" -d @"$folder/picture" >/dev/null || fail "the contact cannot send a picture"
  until_so "the picture's event" link_of_picture
  link=$(cat "$folder/last")
  until_so "the receiver can fetch the picture" picture_readable
  say "a picture went out, and one came in, which the receiver could fetch"
}

# What the image was made lean of must not be missed: one second of sound becomes Opus, and the client of S3 loads.
voice() {
  python3 - "${keys[0]}" "$contact" >"$folder/voice" <<'SOUND'
import base64, io, json, math, struct, sys, wave
file = io.BytesIO()
with wave.open(file, "wb") as sound:
    sound.setparams((1, 2, 16000, 0, "NONE", ""))
    sound.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(at / 5))) for at in range(16000)))
print(json.dumps({"instance_key": sys.argv[1], "phone": sys.argv[2], "base64": base64.b64encode(file.getvalue()).decode()}))
SOUND
  until_so "a voice note goes out" call -X POST "$api/message/send-voice" -H "Idempotency-Key: voice" -d @"$folder/voice"
  until_so "the voice note is on the phone" has_kind voice
  compose exec -T bridge python -c '
import obstore
from obstore.store import MemoryStore
store = MemoryStore()
obstore.put(store, "a", b"x")
assert bytes(obstore.get(store, "a").bytes()) == b"x"' || fail "the client of S3"
  say "a voice note was transcoded and went out"
}

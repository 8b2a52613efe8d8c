#!/bin/sh
# The user's configuration is there in each isolated OpenCode: agents, commands, plugins of both directories,
# opencode.json and .jsonc, instructions, OPENCODE_CONFIG and OPENCODE_CONFIG_DIR, ~/.opencode; also when its
# directory is a link, belongs to somebody else, may not be written, and has links that lead nowhere.
# needs: opencode
# timeout: 200
. "${0%/*}/../lib.sh"
[ -x "${RRM_OPENCODE-}" ] ||
	die "RRM_OPENCODE must name the opencode binary of the pinned npm package; it is '${RRM_OPENCODE-}'"
export OPENCODE_DISABLE_MODELS_FETCH=1
dot=$T/dotfiles/oc
mkdir -p "$dot/agent" "$dot/command" "$dot/plugin" "$dot/plugins" "$dot/node_modules/dep" "$T/extra/agent" \
	"$HOME/.opencode/agent" "$XDG_CONFIG_HOME"
ln -s "$dot" "$XDG_CONFIG_HOME/opencode"
ln -s "$T/gone" "$dot/themes"
ln -s "$T/gone" "$dot/agent/gone.md"
for where in "$dot/agent/mine" "$T/extra/agent/extra" "$HOME/.opencode/agent/old"; do
	printf -- '---\ndescription: x\n---\nbe brief\n' >"$where.md"
done
printf -- '---\ndescription: x\n---\nsay hi\n' >"$dot/command/hi.md"
echo '{"username":"ann"}' >"$dot/opencode.json"
printf '// mine\n{"share":"disabled",}\n' >"$dot/opencode.jsonc"
echo '{"theme":"nord"}' >"$dot/tui.json"
echo 'Be brief.' >"$dot/AGENTS.md"
echo '{"instructions":["one.md"]}' >"$T/one.json"
# What a plugin imports is found beside the file itself, where the user's own npm put it.
echo '{"name":"dep","type":"module","main":"i.js"}' >"$dot/node_modules/dep/package.json"
echo 'export const dep = "dep"' >"$dot/node_modules/dep/i.js"
for p in plugin plugins; do
	cat >"$dot/$p/$p-of-ann.js" <<E2
import { dep } from "dep"
export const P = async () => { process.stderr.write("$p with " + dep + "\n"); return {} }
E2
done
chown -R 65534 "$T/dotfiles"
chmod -R a-w "$dot"
mount --bind "$dot" "$dot"
mount -o remount,ro,bind "$dot"

write_config "{\"backend\":\"opencode\",\"opencode_command\":\"$RRM_OPENCODE\",\"start_timeout_ms\":90000}"
make_repo a
export OPENCODE_CONFIG="$T/one.json" OPENCODE_CONFIG_DIR="$T/extra"
check rrm ensure a
api() {
	curl --noproxy '*' -sf -m 60 -u "opencode:$(cat "$(state_dir a)/password")" \
		"$(jq -r .url "$(state_dir a)/registry.json")$1"
}
eq "$(api /config | jq -c '[.username, .share, .instructions]')" '["ann","disabled",["one.md"]]' 'the configuration'
eq "$(api /agent | jq -c '[.[].name | select(. == "mine" or . == "extra" or . == "old")] | sort')" \
	'["extra","mine","old"]' 'the agents'
eq "$(api /command | jq -c '[.[].name | select(. == "hi")]')" '["hi"]' 'the commands'
for p in plugin plugins; do
	grep -qx "$p with dep" "$(state_dir a)/backend.log" || die "$p/ was not loaded: $(cat "$(state_dir a)/backend.log")"
done
for f in AGENTS.md tui.json; do
	eq "$(cat "$(state_dir a)/config/opencode/$f")" "$(cat "$dot/$f")" "$f in the isolated directory"
done
# The directory of one OPENCODE_CONFIG_DIR would be written by all.
eq "$(find "$T/extra" | sort | tr '\n' ' ')" "$T/extra $T/extra/agent $T/extra/agent/extra.md " 'what is in the extra directory'

# What comes and goes while it is stopped is followed; what may not be read is a sentence.
check rrm stop a
umount "$dot"
mkdir "$dot/mode"
rm -r "$dot/command"
check rrm ensure a
eq "$(readlink "$(state_dir a)/config/opencode/mode")" "$XDG_CONFIG_HOME/opencode/mode" 'a new entry'
eq "$(api /command | jq -c '[.[].name | select(. == "hi")]')" '[]' 'the commands afterwards'
check rrm stop a
chmod -R u+w "$T/dotfiles"
rm "$XDG_CONFIG_HOME/opencode"
echo 'no directory' >"$XDG_CONFIG_HOME/opencode"
check rrm ensure a
eq "$(api /config | jq -c .instructions)" '["one.md"]' 'the configuration without its directory'
check rrm stop a

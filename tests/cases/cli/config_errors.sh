#!/bin/sh
# A configuration that cannot be used is an error that names the file, the key and the line.
. "${0%/*}/../lib.sh"

write_config '{
  "linger_ms": 20,
  "mountpont": "/x"
}'
fails_with 'config.json line 3: unknown key "mountpont"; did you mean "mountpoint"?' rrm list
write_config '{"linger_ms": "20"}'
fails_with 'line 1: "linger_ms" must be a number' rrm list
write_config '{
"max_turn_ms": -5}'
fails_with 'line 2: "max_turn_ms" is negative' rrm list
write_config '{"roots": ["relative"]}'
fails_with '"relative" is not an absolute path' rrm list
write_config '{"backend": "docker"}'
fails_with '"backend" must be' rrm list
write_config '{"linger_ms": 1, }'
fails_with 'config.json: line 1' rrm list
write_config ''
fails_with 'config.json' rrm list
rm "$XDG_CONFIG_HOME/rrm/config.json"
mkdir "$XDG_CONFIG_HOME/rrm/config.json"
fails_with 'Is a directory' rrm list
rmdir "$XDG_CONFIG_HOME/rrm/config.json"
if [ "$(id -u)" != 0 ]; then
	write_config '{}'
	chmod 0 "$XDG_CONFIG_HOME/rrm/config.json"
	fails_with 'Permission denied' rrm list
	rm -f "$XDG_CONFIG_HOME/rrm/config.json"
fi
check rrm list
fails_with 'RRM_BACKEND' env RRM_BACKEND=docker rrm list
fails_with 'neither HOME nor RRM_HOME' env -u HOME -u RRM_HOME rrm list

/*
 * Whose process is at the other end of a TCP connection over loopback: the uid column of the peer's own
 * entry in /proc/net/tcp, or tcp6 (a program may reach 127.0.0.1 through an IPv6 socket).
 */
#pragma once
#include <sys/types.h>

/* fd: a connected IPv4 socket. 0 and *uid; -ENOTCONN when the peer has no established entry (it has
 * closed already, or is on another machine), or another negative errno. */
int peer_uid(int fd, uid_t *uid);

/* Pure: looks through the text of such a table, one line at a time. local and remote are the peer's, as
 * the kernel prints them: "0100007F:1F90". 0 and *uid, or -ENOENT when line is not that connection. */
int peer_match(const char *line, const char *local, const char *remote, uid_t *uid);

/*
 * The control directory <mount>/.rrm, like /proc: status, whoami, errors, stats and
 * repos/<name>/{id,root,branch,audit,log,endpoint}; docs/FORMATS.md says what each holds.
 *
 * OPEN is never sent, so a file cannot ask for direct I/O. Instead each lookup makes a new file with a new
 * nodeid that holds what was true at that moment; the kernel keeps no name of it. endpoint is made
 * when it is read, for that may start a backend.
 */
#pragma once
#include "fs/overlay.h"

int control_new(struct overlay *o, struct control **out);
struct control *control_free(struct control *c);

/* parent is FUSE_ROOT_ID for ".rrm" itself. These reply. */
void control_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void control_getattr(fuse_req_t req, fuse_ino_t ino);
void control_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off);
void control_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus);

void control_forget(struct overlay *o, fuse_ino_t ino, uint64_t count);

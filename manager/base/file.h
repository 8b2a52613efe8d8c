/*
 * Whole files, read and replaced. dirfd may be AT_FDCWD. All return 0 or a negative errno.
 * Durable files change only through file_replace(): new temp file, fsync, rename, fsync of the
 * directory; a reader sees the old or the new content, never a mix, also after a crash.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* *data is owned by the caller and has a NUL after its len bytes. -EFBIG beyond max_bytes. */
int file_read(int dirfd, const char *name, size_t max_bytes, char **data, size_t *len);

int file_replace(int dirfd, const char *name, const void *data, size_t len, mode_t mode);

/* Appends with O_APPEND in one write(2), creating with mode. No fsync. */
int file_append(int dirfd, const char *name, const void *data, size_t len, mode_t mode);

/* The same to dir/name, mode 0600; a file that has max_bytes becomes old first, in place of an older one. */
int file_append_bounded(const char *dir, const char *name, const char *old, off_t max_bytes,
			const void *data, size_t len);

/* mkdir -p; only directories that it makes get mode. -ENOTDIR when a part is something else. */
int file_mkdirs(const char *path, mode_t mode);

/* write(2)/pwrite(2)/read(2) until all is done or an error; EINTR is retried. */
int file_write_all(int fd, const void *data, size_t len);
int file_pwrite_all(int fd, const void *data, size_t len, off_t off);
/* Reads up to len bytes; *got < len only at the end of the file. */
int file_read_full(int fd, void *data, size_t len, size_t *got);

/* rm -r below dirfd/name, staying on one file system and never following a symlink. A missing
 * entry is success. */
int file_remove_tree(int dirfd, const char *name);

/* Renames a damaged file to "<name>.corrupt-<n>" (first free n) beside it; moved gets the new name
 * (borrowed buffer of at least NAME_MAX + 1 bytes, may be NULL). */
int file_move_aside(int dirfd, const char *name, char *moved);

#include "manager/undokept.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/path.h"

enum { PIECE_MAX = 1 << 20 }; /* more than any has */

/* A file that reads as the piece does: its first len bytes. */
static int content_of(const char *data, size_t len)
{
	CLEANUP(closep) int fd = memfd_create("rrm-undo", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : file_pwrite_all(fd, data, len, 0);
	return r < 0 ? r : steal_fd(&fd);
}

static int cut_out(struct undokept *k, int from, int64_t at, int64_t len, int64_t attrs)
{
	size_t got = 0;
	if (at < 0 || len < 0 || attrs < 0 || len > PIECE_MAX || attrs > PIECE_MAX)
		return -EINVAL;
	CLEANUP(freep) char *data = malloc((size_t)(len + attrs) + 1);
	if (!data)
		return -ENOMEM;
	if (lseek(from, at, SEEK_SET) < 0)
		return -errno;
	int r = file_read_full(from, data, (size_t)(len + attrs), &got);
	if (r == 0 && got < (size_t)(len + attrs))
		r = -ENODATA; /* the machine crashed before it was on the disk */
	if (r == 0)
		r = k->fd = content_of(data, (size_t)len);
	if (r < 0)
		return r;
	memmove(data, data + len, (size_t)attrs);
	k->attrs = steal(&data);
	k->attrs_len = (size_t)attrs;
	return 0;
}

int undokept_open(struct undokept *k, const char *state_dir, const cJSON *undo)
{
	const char *kept = json_str(undo, "kept", NULL);
	*k = (struct undokept){.fd = -1};
	if (!kept)
		return 0;
	CLEANUP(freep) char *path = path_join(state_dir, kept);
	if (!path)
		return -ENOMEM;
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (cJSON_HasObjectItem(undo, "kept_at"))
		return cut_out(k, fd, json_int(undo, "kept_at", -1), json_int(undo, "kept_len", -1),
			       json_int(undo, "kept_attrs", -1));
	k->fd = steal_fd(&fd);
	return 0;
}

void undokept_deinit(struct undokept *k)
{
	closep(&k->fd);
	free(k->attrs);
	*k = (struct undokept){.fd = -1};
}

static int attrs_of_file(int fd,
			 int (*fn)(const char *name, const void *value, size_t len, void *arg),
			 void *arg)
{
	CLEANUP(freep) char *names = malloc(XATTR_LIST_MAX);
	CLEANUP(freep) char *value = malloc(XATTR_SIZE_MAX);
	ssize_t len = names && value ? flistxattr(fd, names, XATTR_LIST_MAX) : -1;
	int r = 0;
	for (const char *name = names; r == 0 && len > 0 && name < names + len;
	     name += strlen(name) + 1) {
		ssize_t n = fgetxattr(fd, name, value, XATTR_SIZE_MAX);
		if (n >= 0)
			r = fn(name, value, (size_t)n, arg);
	}
	return r;
}

int undokept_attrs(const struct undokept *k,
		   int (*fn)(const char *name, const void *value, size_t len, void *arg), void *arg)
{
	if (!k->attrs)
		return k->fd < 0 ? 0 : attrs_of_file(k->fd, fn, arg);
	for (size_t at = 0; at < k->attrs_len;) {
		const char *name = k->attrs + at;
		size_t name_len = strnlen(name, k->attrs_len - at);
		uint32_t le = 0;
		if (k->attrs_len - at - name_len < 1 + sizeof(le))
			return -EINVAL;
		at += name_len + 1;
		memcpy(&le, k->attrs + at, sizeof(le));
		at += sizeof(le);
		size_t len = le32toh(le);
		if (len > k->attrs_len - at)
			return -EINVAL;
		int r = fn(name, k->attrs + at, len, arg);
		if (r != 0)
			return r;
		at += len;
	}
	return 0;
}

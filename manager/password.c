#include "manager/password.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"

int password_read(const struct repo *r, char out[PASSWORD_MAX])
{
	CLEANUP(closep) int dir = open(r->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	CLEANUP(closep) int fd = openat(dir, "password", O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_mode & 077)
		return -EACCES;
	size_t len;
	int rc = file_read_full(fd, out, PASSWORD_MAX - 1, &len);
	if (rc < 0)
		return rc;
	out[len] = '\0';
	out[strcspn(out, "\r\n")] = '\0';
	return strlen(out) == len || len - strlen(out) > 2 || strlen(out) < 16 ? -EINVAL : 0;
}

int password_make(const struct repo *r, char out[PASSWORD_MAX], struct err *e)
{
	int rc = password_read(r, out);
	if (rc == 0)
		return 0;
	unsigned char bytes[16];
	if (rc != -ENOENT && rc != -EINVAL && rc != -EACCES)
		return err_errno(e, rc, "reading %s/password", r->state_dir);
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return err_errno(e, -errno, "no random bytes for %s/password", r->state_dir);
	char text[2 * sizeof(bytes) + 2];
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	snprintf(out, PASSWORD_MAX, "%s", text);
	strcat(text, "\n");
	CLEANUP(closep) int dir = open(r->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	rc = dir < 0 ? -errno : file_replace(dir, "password", text, strlen(text), 0600);
	return rc < 0 ? err_errno(e, rc, "writing %s/password", r->state_dir) : 0;
}

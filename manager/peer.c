#include "manager/peer.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "manager/base/cleanup.h"

enum { ADDRESS_MAX = 48, ESTABLISHED = 1 };

int peer_match(const char *line, const char *local, const char *remote, uid_t *uid)
{
	char l[ADDRESS_MAX], r[ADDRESS_MAX];
	unsigned state, owner;
	unsigned long inode;
	/* sl local remote st tx:rx tr:when retrnsmt uid timeout inode */
	if (sscanf(line, " %*d: %47s %47s %x %*s %*s %*s %u %*d %lu", l, r, &state, &owner,
		   &inode) != 5)
		return -ENOENT;
	/* One that nobody has open any more says uid 0. */
	if (state != ESTABLISHED || inode == 0 || strcasecmp(l, local) != 0 ||
	    strcasecmp(r, remote) != 0)
		return -ENOENT;
	*uid = owner;
	return 0;
}

static int search(const char *table, const char *local, const char *remote, uid_t *uid)
{
	CLEANUP(fclosep) FILE *f = fopen(table, "re");
	char line[512];
	while (f && fgets(line, sizeof(line), f))
		if (peer_match(line, local, remote, uid) == 0)
			return 0;
	return -ENOTCONN;
}

/* As the kernel prints it: the 32 bits in the machine's order, the port in ours. */
static void print_address(char *out, const char *prefix, const struct sockaddr_in *a)
{
	snprintf(out, ADDRESS_MAX, "%s%08X:%04X", prefix, a->sin_addr.s_addr, ntohs(a->sin_port));
}

int peer_uid(int fd, uid_t *uid)
{
	struct sockaddr_in ours = {0}, theirs = {0};
	socklen_t n = sizeof(ours), m = sizeof(theirs);
	char local[ADDRESS_MAX], remote[ADDRESS_MAX], mapped[32];
	if (getsockname(fd, (struct sockaddr *)&ours, &n) < 0 ||
	    getpeername(fd, (struct sockaddr *)&theirs, &m) < 0)
		return -errno;
	if (ours.sin_family != AF_INET || theirs.sin_family != AF_INET)
		return -EAFNOSUPPORT;
	print_address(local, "", &theirs);
	print_address(remote, "", &ours);
	if (search("/proc/net/tcp", local, remote, uid) == 0)
		return 0;
	snprintf(mapped, sizeof(mapped), "0000000000000000%08X", htonl(0xffff));
	print_address(local, mapped, &theirs);
	print_address(remote, mapped, &ours);
	return search("/proc/net/tcp6", local, remote, uid);
}

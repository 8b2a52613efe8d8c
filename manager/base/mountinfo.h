/* /proc/self/mountinfo, line by line. */
#pragma once

/* Calls fn for each mount, in the order of the file (one that lies over another comes later), with its
 * mountpoint and file system type ("fuse.rrm"); stops when it returns non-zero and returns that. Negative errno
 * when the file cannot be read. No mount is touched. */
int mountinfo_each(int (*fn)(const char *mountpoint, const char *type, void *arg), void *arg);

/* Reading and writing in every way, past the caches too; maps. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include "posix.h"

static void *volatile nowhere = (void *)1;
static volatile int minus_one = -1;
static char block[65536] __attribute__((aligned(4096)));

static void direct(void)
{
	section("O_DIRECT");
	int fd = open("df", O_RDWR | O_CREAT | O_DIRECT | O_TRUNC, 0644),
	    plain = open("df", O_RDWR);
	memset(block, 'D', sizeof(block));
	SAY(pwrite(fd, block, 8192, 0));
	SAY(pwrite(plain, "buffered", 8, 100));
	SAY(pread(fd, block, 4096, 0));
	note("%.8s", block + 100);
	memset(block, 'E', sizeof(block));
	SAY(pwrite(fd, block, 4096, 4096));
	SAY(pread(plain, block, 16, 4090));
	note("%.16s", block);
	SAY(ftruncate(fd, 5000));
	SAY(pread(fd, block, 8192, 0));
	SAY(pread(fd, block, 8192, 8192));
	SAY(pread(fd, block, 4096, 4096));
	memset(block, 'F', sizeof(block));
	SAY(pwrite(fd, block, 65536, 1 << 20));
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, plain, 0);
	map[0] = 'M';
	SAY(pread(fd, block, 4096, 0));
	note("%c", block[0]);
	memset(block, 'G', 4096);
	SAY(pwrite(fd, block, 4096, 0));
	note("%c", map[0]);
	munmap(map, 8192);
	SAY(fcntl(plain, F_SETFL, O_DIRECT));
	SAY(pread(plain, block, 4096, 0));
	int app = open("df", O_WRONLY | O_APPEND | O_DIRECT);
	SAY(ftruncate(app, 8192));
	SAY(write(app, block, 4096));
	close(app);
	close(fd);
	close(plain);
	show("df");
}

static void vectors(void)
{
	char a[4] = "", b[6] = "";
	struct iovec in[2] = {{(char[]){"one "}, 4}, {(char[]){"two"}, 3}},
		     out[2] = {{a, 4}, {b, 6}};
	section("vectors");
	int fd = open("vf", O_RDWR | O_CREAT | O_TRUNC, 0644);
	SAY(writev(fd, in, 2));
	SAY(pwritev(fd, in, 2, 5));
	SAY(preadv(fd, out, 2, 0));
	note("%.4s%.6s", a, b);
	SAY(pwritev2(fd, in, 2, 0, RWF_APPEND));
	SAY(pwritev2(fd, in, 2, 0, RWF_DSYNC));
	SAY(writev(fd, in, minus_one));
	SAY(writev(fd, NULL, 0));
	SAY(write(fd, nowhere, 10));
	SAY(pread(fd, nowhere, 10, 0));
	SAY(pread(fd, a, 4, -1));
	show("vf");
	int app = open("vf", O_RDWR | O_APPEND);
	SAY(pwrite(app, "end", 3, 0));
	SAY(lseek(app, 0, SEEK_CUR));
	SAY(write(app, "END", 3));
	SAY(lseek(app, 0, SEEK_CUR));
	SAY(fcntl(app, F_SETFL, 0));
	SAY(pwrite(app, "begin", 5, 0));
	SAY(fcntl(fd, F_SETFL, O_APPEND));
	SAY(pwrite(fd, "appended", 8, 0));
	show("vf");
	close(app);
	close(fd);
}

static void moving(void)
{
	int p[2];
	section("moving");
	int from = open("mf", O_RDWR | O_CREAT | O_TRUNC, 0644),
	    to = open("mt", O_RDWR | O_CREAT | O_TRUNC, 0644), r = open("mt", O_RDONLY),
	    app = open("mt", O_WRONLY | O_APPEND);
	memset(block, 'm', sizeof(block));
	SAY(pwrite(from, block, 60000, 0));
	SAY(sendfile(to, from, &(off_t){10}, 50000));
	SAY(sendfile(to, from, &(off_t){60000}, 10));
	SAY(sendfile(r, from, NULL, 10));
	SAY(sendfile(app, from, NULL, 10));
	SAY(pipe(p));
	SAY(splice(from, &(loff_t){0}, p[1], NULL, 30000, 0));
	SAY(splice(p[0], NULL, to, &(loff_t){100000}, 30000, 0));
	SAY(splice(from, NULL, to, NULL, 10, 0));
	SAY(copy_file_range(from, &(loff_t){0}, to, &(loff_t){5}, 1000, 0));
	SAY(copy_file_range(from, &(loff_t){0}, r, &(loff_t){5}, 10, 0));
	SAY(copy_file_range(from, &(loff_t){0}, app, &(loff_t){5}, 10, 0));
	SAY(copy_file_range(from, &(loff_t){0}, from, &(loff_t){5}, 10, 0));
	SAY(copy_file_range(from, &(loff_t){70000}, to, &(loff_t){5}, 10, 0));
	SAY(copy_file_range(p[0], NULL, to, NULL, 10, 0));
	SAY(copy_file_range(from, &(loff_t){-1}, to, &(loff_t){5}, 10, 0));
	SAY(copy_file_range(from, &(loff_t){0}, to, &(loff_t){((loff_t)1 << 44)}, 10, 0));
	show("mt");
	close(from);
	close(to);
	close(r);
	close(app);
	close(p[0]);
	close(p[1]);
}

static sigjmp_buf beyond;

static void on_bus(int sig)
{
	siglongjmp(beyond, sig);
}

static int touch(volatile char *at)
{
	int sig = sigsetjmp(beyond, 1);
	if (sig == 0)
		*at = (char)(*at + 0);
	return sig;
}

static void maps(void)
{
	section("maps");
	signal(SIGBUS, on_bus);
	signal(SIGSEGV, on_bus);
	int fd = open("map", O_RDWR | O_CREAT | O_TRUNC, 0644), w = open("map", O_WRONLY),
	    r = open("map", O_RDONLY), d = open(".", O_RDONLY);
	memset(block, 'a', sizeof(block));
	SAY(pwrite(fd, block, 10000, 0));
	char *m = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *priv = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE, r, 0);
	SAY(mmap(NULL, 4096, PROT_READ, MAP_SHARED, w, 0) == MAP_FAILED ? -1 : 0);
	SAY(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, r, 0) == MAP_FAILED ? -1 : 0);
	SAY(mmap(NULL, 4096, PROT_READ, MAP_SHARED, d, 0) == MAP_FAILED ? -1 : 0);
	SAY(mmap(NULL, 4096, PROT_READ, MAP_SHARED_VALIDATE, fd, 0) == MAP_FAILED ? -1 : 0);
	note("beyond its pages %d, its last page %d", touch(m + 12288), touch(m + 12287));
	m[5] = 'S';
	priv[6] = 'P';
	SAY(pread(r, block, 8, 0));
	note("%.8s %.8s", block, priv);
	SAY(pwrite(fd, "written", 7, 4096));
	note("%.7s", m + 4096);
	SAY(ftruncate(fd, 4096));
	note("cut off %d", touch(m + 4096));
	SAY(ftruncate(fd, 10000));
	note("again %d, and it is %d", touch(m + 4096), m[4096]);
	m[9999] = 'z';
	SAY(msync(m, 16384, MS_SYNC));
	SAY(fallocate(fd, 3, 4096, 4096));
	note("%d %c", m[5000], m[9999]);
	SAY(unlink("map"));
	m[9998] = 'u';
	SAY(msync(m, 16384, MS_SYNC));
	SAY(pread(r, block, 3, 9998));
	note("%.2s", block);
	SAY(close(fd));
	m[1] = 'c';
	SAY(munmap(m, 16384));
	SAY(pread(r, block, 3, 0));
	note("%.3s", block);
	munmap(priv, 16384);
	close(w);
	close(r);
	close(d);
	signal(SIGBUS, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
}

void posix_io(void)
{
	direct();
	vectors();
	moving();
	maps();
}

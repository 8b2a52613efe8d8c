/*
 * What outlives a server: memory and descriptors that its successor takes over (guard.h says who they are).
 *
 * The memory is a memfd: struct estate, then the node table (node.h). A server may be killed at any
 * instruction, so whatever is here is complete before it is marked as valid. Descriptors need no handing over:
 * guard and server share one descriptor table, and what a dead server had open stays open.
 * estate_sweep() closes all of it that is not recorded here or in a node, so also what others wait
 * for: locks of turns, pipes, connections.
 *
 * Without an estate (unit tests; struct overlay's pointer is NULL) nothing is kept.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/base/err.h"

/* To be raised with every change of this file or of the records in node.h and node_table.h: then another
 * program does not take over, but leaves that to the one that made it. */
enum { ESTATE_VERSION = 5 };

enum {
	ESTATE_KEPT = 8192,
	ESTATE_INTENTS = 4096,
	ESTATE_REPOS = 4096,
	ESTATE_SESSIONS = 16384,
	ESTATE_NEWS = 32768, /* a multiple of 64 */
	ESTATE_HEARD = 65536,
	ESTATE_OPCODES = 64,
	ESTATE_INIT_MAX = 256,
	ESTATE_ID = 64,
	ESTATE_ROOT = 4096,
};

/* What the server is doing; the guard decides by it what its end means. */
enum estate_phase {
	ESTATE_STARTING, /* set by the guard */
	ESTATE_SERVING,  /* the kernel said INIT, or what was in flight was asked for again */
	ESTATE_ENDED,    /* it ended by itself, and said why */
	ESTATE_HANDOVER, /* told to make room for another program */
};

/* A descriptor that only the one who opened it can have. */
enum estate_kind {
	ESTATE_FREE,
	ESTATE_PIN_READ, /* of a node whose mode forbids to open it again; key: nodeid */
	ESTATE_PIN_WRITE,
};

struct estate_fd {
	uint64_t key;
	_Atomic uint32_t kind; /* valid unless ESTATE_FREE */
	int32_t fd;
};

/* A request whose change is under way; again.h. */
enum { INTENT_FREE, INTENT_FOREIGN, INTENT_BEGUN, INTENT_DONE };
struct intent {
	uint64_t unique;
	_Atomic uint32_t state;
	int32_t fd;         /* what CREATE opened; -1: none */
	uint64_t ino, ino2; /* of the names before; 0: not known */
	int64_t size;       /* of the file before, where that tells; -1: not known */
	int64_t begun_s;    /* wall clock */
	int64_t begun_ns;
	uint64_t written, node;
	uint32_t server; /* estate.servers of who took it, or found it */
};

/* What a repo's index stands for. */
struct estate_repo {
	char id[ESTATE_ID], name[256], root[ESTATE_ROOT];
	_Atomic uint32_t state; /* 0: none, 1: shown, 2: gone */
};

enum { SESSION_FREE, SESSION_NOTED, SESSION_WRITING };
struct estate_session {
	char home[ESTATE_ID], session[ESTATE_ID];
	_Atomic uint32_t state; /* home and session are valid when SESSION_NOTED */
};

/* Something heard of a change outside, or to be told to the kernel; news.h. */
enum { NEWS_FREE, NEWS_LOOK, NEWS_TELL };
struct estate_news {
	uint64_t node;         /* nodeid */
	_Atomic uint32_t kind; /* valid unless NEWS_FREE */
	uint16_t repo;         /* of NEWS_TELL, as are the next two: invalidate.h */
	bool data, expire;
	char name[256]; /* in that directory; "": the node itself */
};

struct estate {
	char magic[8];
	uint32_t version;
	uint32_t bytes;
	int32_t memfd, program; /* program: the running one, for when that on disk will not do */
	int32_t fuse, inotify;  /* -1: none yet */
	int32_t ready;          /* the pipe of who waits for the start; -1: nobody */
	pid_t guard;
	uint64_t mount; /* a random number: the first half of its mutations' ids */
	_Atomic uint32_t phase;
	uint32_t servers; /* how many there were, with this one */
	_Atomic uint32_t
		drained; /* the last of them that had nothing left to read: all was asked for again */
	bool crashed;    /* set by the guard: the last server died by a mistake of its own */
	_Atomic bool resend; /* the kernel can be asked for what is in flight */
	_Atomic uint32_t init_len;
	_Alignas(8) char init[ESTATE_INIT_MAX]; /* the kernel's INIT, which it never says again */
	_Atomic uint64_t requests[ESTATE_OPCODES];
	/* What the kernel was told to forget. */
	_Atomic uint64_t names_dropped, files_dropped;
	struct estate_fd kept[ESTATE_KEPT];
	struct intent intents[ESTATE_INTENTS];
	_Atomic uint32_t news_end;  /* the first place in news that was never used */
	_Atomic uint32_t news_lost; /* how many found no place there */
	_Atomic bool news_all;      /* a server left such: everything has to be looked at */
	struct estate_news news[ESTATE_NEWS];
	/* What the last read(2) from inotify brought, up to an event whose wd is 0. */
	_Alignas(8) char heard[ESTATE_HEARD];
	struct estate_session sessions[ESTATE_SESSIONS];
	struct estate_repo repos[ESTATE_REPOS];
};

/* Makes one; in the guard, before there is a server. *out is mapped for good. */
int estate_new(struct estate **out, struct err *e);

/* Maps that of fd, inherited over an exec. -ESTALE: it is of another version (*out is set, to find
 * `program` in it). */
int estate_open(struct estate **out, int fd, struct err *e);

/* Where in the memfd the node table lies. */
off_t estate_nodes_at(void);

/* A dead server's place in line is taken: resets what is of its process alone. Before there is any thread. */
void estate_begin(struct estate *es);

/* Keeps fd under (kind, key): a number for estate_drop(), -1 when there is no room (or no estate). */
int estate_keep(struct estate *es, enum estate_kind kind, uint64_t key, int fd);
void estate_drop(struct estate *es, int at);

/* Closes every descriptor that is not recorded and not in fds (n of them; sorted by this). */
void estate_sweep(struct estate *es, int *fds, size_t n);

/* Says what the session number is; only the first to say it is heard. Any thread. */
void estate_note_session(struct estate *es, uint32_t number, const char *home, const char *session);

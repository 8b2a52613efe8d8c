/*
 * The two texts that come from outside: a mutation's header and an answer's body. What is understood
 * must survive its own encoding; what is not must leave a sentence and nothing allocated. And what jsonr.c reads in a
 * text cJSON reads in it, too.
 *
 * Here: a main() that changes built-in samples at random for SECONDS (argv[1], default 3), seed in
 * argv[2]. With libFuzzer:
 *
 *	clang -DFUZZ_LIBFUZZER -fsanitize=fuzzer,address,undefined -g -O1 -D_GNU_SOURCE -I. \
 *		tests/fuzz/fuzz_mutation.c router/mutation.c router/jsonr.c router/jsonw.c \
 *		manager/base/{json,err,path,file}.c -lcjson
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"
#include "router/jsonr.h"
#include "router/jsonw.h"
#include "router/mutation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "fuzz_mutation: %s\n", what);
		abort();
	}
}

static void try_mutation(const char *text)
{
	struct mutation *m = NULL, *again = NULL;
	struct err e = ERR_INIT;
	if (mutation_decode(text, &m, &e) < 0) {
		require(!m && *e.text, "a refusal without a sentence");
		return;
	}
	CLEANUP(freep) char *first = mutation_encode(m);
	require(first && mutation_decode(first, &again, &e) == 0, "its own text is refused");
	CLEANUP(freep) char *second = mutation_encode(again);
	require(second && strcmp(first, second) == 0, "the second text differs");
	require(strcmp(m->path, again->path) == 0, "the path differs");
	mutation_free(m);
	mutation_free(again);
}

static void try_answer(const char *text, size_t size)
{
	struct mutation_answer a, again;
	struct err e = ERR_INIT;
	if (mutation_answer_decode(text, size, &a, &e) < 0) {
		require(*e.text, "a refusal without a sentence");
		return;
	}
	CLEANUP(freep) char *first = mutation_answer_encode(&a);
	require(first && mutation_answer_decode(first, strlen(first), &again, &e) == 0,
		"its own answer is refused");
	require(a.error == again.error && a.has_attr == again.has_attr, "the answer differs");
}

static char type_of(const cJSON *j)
{
	return cJSON_IsObject(j)   ? '{'
	       : cJSON_IsArray(j)  ? '['
	       : cJSON_IsString(j) ? '"'
	       : cJSON_IsNumber(j) ? '0'
	       : cJSON_IsTrue(j)   ? 't'
	       : cJSON_IsFalse(j)  ? 'f'
				   : 'n';
}

/* The two readings of one value. */
static void compare(const struct jsonr_item *i, const cJSON *j)
{
	int64_t a = 0, b = 0;
	require(i->type == type_of(j), "cJSON reads another type");
	if (i->type == '"' || i->type == '0') {
		int r = jsonr_i64(i, &a);
		/* Beyond 2^53 cJSON rounds numbers. */
		if (i->type == '"' || (r == 0 && llabs(a) < INT64_C(1) << 53))
			require(r == jsonw_item_i64(j, &b) && (r < 0 || a == b),
				"cJSON reads another number");
	}
	const cJSON *child = NULL;
	const struct jsonr_item *k = i + 1;
	cJSON_ArrayForEach (child, j) {
		CLEANUP(freep) char *text = NULL;
		require(k <= i + i->below, "cJSON reads more values");
		if (i->type == '{')
			require(strlen(child->string) == k->key_len &&
					memcmp(child->string, k->key, k->key_len) == 0,
				"cJSON reads another name");
		if (i->type == '{' && k->type == '"' && jsonr_find(i, child->string) == k &&
		    k->key_len < 20 && !strstr(child->string, "_hex")) {
			int r = jsonr_bytes(i, child->string, &text);
			require(r < 0 || !text || !strcmp(text, child->valuestring) ||
					strstr(i->at, "_hex"),
				"cJSON reads another text");
		}
		compare(k, child);
		k += 1 + k->below;
	}
	require(k == i + 1 + i->below, "cJSON reads fewer values");
}

static void try_json(const char *text, size_t size)
{
	struct jsonr_item items[JSONR_ITEMS];
	CLEANUP(json_deletep) cJSON *j = NULL;
	struct err e = ERR_INIT;
	if (jsonr_parse(text, size, items, &e) < 0) {
		require(*e.text, "a refusal without a sentence");
		return;
	}
	require(json_parse(text, size, &j, &e) == 0, "cJSON refuses it");
	compare(items, j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(freep) char *text = malloc(size + 1);
	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	try_json(text, size);
	try_mutation(text);
	try_answer(text, size);
	return 0;
}

#ifndef FUZZ_LIBFUZZER
static const char *const samples[] = {
	"{\"id\":\"a-1\",\"epoch\":3,\"op\":\"write\",\"path\":\"src/\\u00e9.c\",\"offset\":12,"
	"\"ino\":\"18446744073709551615\",\"dev\":2049,\"branch\":\"main\",\"wait_us\":7,"
	"\"actor\":{\"pid\":42,\"uid\":1000,\"gid\":1000,\"comm\":\"sed\",\"home\":\"web-00\"}}",
	"{\"id\":\"a-2\",\"epoch\":3,\"op\":\"rename\",\"path_hex\":\"61ff\",\"path2\":\"b/c\","
	"\"flags\":1,\"actor\":{}}",
	"{\"id\":\"a-3\",\"epoch\":3,\"op\":\"utimens\",\"path\":\"\",\"atime\":[-1,1073741822],"
	"\"mtime\":[\"9223372036854775807\",999999999]}",
	"{\"id\":\"a-4\",\"epoch\":1,\"op\":\"fallocate\",\"path\":\"f\",\"flags\":3,\"length\":5}",
	"{\"id\":\"a-5\",\"ok\":true,\"errno\":0,\"message\":\"\",\"bytes\":5,\"offset\":0,"
	"\"attr\":"
	"{\"dev\":1,\"ino\":2,\"mode\":33188,\"nlink\":1,\"uid\":0,\"gid\":0,\"rdev\":0,\"size\":5,"
	"\"blocks\":8,\"blksize\":4096,\"atime\":[1,2],\"mtime\":[3,4],\"ctime\":[5,6]},"
	"\"before\":{\"ino\":2,\"size\":0,\"mtime\":[1,2],\"ctime\":[3,4]}}",
};
static const char *const words[] = {"\\u0000",
				    "..",
				    "/",
				    "\"",
				    "{",
				    "}",
				    "[",
				    "null",
				    "-1",
				    "1e308",
				    "true",
				    "_hex",
				    "\xff",
				    "\"op\":\"mknod\"",
				    "\"op\":\"chown\"",
				    "9007199254740993",
				    ",",
				    ":",
				    "\\ud800",
				    "\\ud83d\\ude00",
				    "\\u00e9",
				    "\\n",
				    "1e3",
				    "-0",
				    "0.5"};

/* One change at a random place: a byte, a cut, a word put in. */
static size_t change_text(char *text, size_t len, size_t room, unsigned *seed)
{
	size_t at = (unsigned)rand_r(seed) % (len + 1);
	const char *word = words[(unsigned)rand_r(seed) % (sizeof(words) / sizeof(words[0]))];
	size_t n = strlen(word), cut = (unsigned)rand_r(seed) % 16;
	switch (rand_r(seed) % 3) {
	case 0:
		if (at < len)
			text[at] = (char)rand_r(seed);
		return len;
	case 1:
		if (cut > len - at)
			cut = len - at;
		memmove(text + at, text + at + cut, len - at - cut);
		return len - cut;
	default:
		if (len + n > room)
			return len;
		memmove(text + at + n, text + at, len - at);
		memcpy(text + at, word, n);
		return len + n;
	}
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 3);
	unsigned seed = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : (unsigned)time(NULL);
	unsigned long rounds = 0;
	printf("seed %u\n", seed);
	for (; rounds % 1000 || time(NULL) < end; rounds++) {
		char text[2048];
		const char *s =
			samples[(unsigned)rand_r(&seed) % (sizeof(samples) / sizeof(*samples))];
		size_t len = strlen(s);
		memcpy(text, s, len);
		for (int i = rand_r(&seed) % 5; i >= 0; i--)
			len = change_text(text, len, sizeof(text), &seed);
		LLVMFuzzerTestOneInput((const uint8_t *)text, len);
	}
	printf("%lu rounds\n", rounds);
	return 0;
}
#endif

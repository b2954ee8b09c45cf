/* Sockets and servers of which every promise of net.h is held to account: what a callback may be
 * told, how often, in which order, and that everything ends. For programs without cmocka: a broken
 * promise aborts.
 *
 * Use: calls of the library go through CALL(judge, ...), so that a callback inside one is seen.
 * After each event has been judged, judge->act is called, which may make further calls.
 *
 * Owns: judge_begin() makes a loop; judge_end() ends all that is left, runs the loop until all is
 *       told, and compares descriptors, references and watchers with the beginning. */
#ifndef USHER_TESTS_HELPERS_NET_JUDGE_H
#define USHER_TESTS_HELPERS_NET_JUDGE_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/net/net.h"

#define JUDGE_SOCKETS 8
#define JUDGE_SERVERS 2
#define JUDGE_TOKENS  512

/* Bytes that a stream is made of: its byte at i is PATTERN_PERIOD's remainder of i. */
#define PATTERN_PERIOD 251
#define PATTERN_SIZE   (512 * 1024)

#define REQUIRE(condition)                                            \
	do {                                                          \
		if (!(condition))                                     \
			judge_broken(#condition, __FILE__, __LINE__); \
	} while (0)

#define CALL(judge, call)                 \
	do {                              \
		(judge)->calls_running++; \
		call;                     \
		(judge)->calls_running--; \
	} while (0)

/* Says which promise is broken, and aborts. */
_Noreturn void judge_broken(const char *promise, const char *file, int line);

struct judge;

struct judged_socket {
	struct judge *judge;
	struct net_socket *socket; /* NULL: none */
	unsigned life;
	unsigned holds;
	bool is_open; /* on_close is still to come */
	bool is_closing;
	bool connect_told, end_told, finish_told, error_told;
	bool is_deaf;      /* its ops take no data */
	bool is_decoded;   /* what comes is told as text */
	bool reads_count;  /* every byte that comes is told as it is */
	bool writes_count; /* every byte that goes out was given to write */
	uint64_t read;
	uint64_t written;
	unsigned answered; /* the last write that was */
	char buffer[512];
};

struct judged_server {
	struct judge *judge;
	struct net_server *server; /* NULL: none */
	unsigned listens;
	unsigned closes;
};

enum token_kind { TOKEN_WRITE, TOKEN_END, TOKEN_CONNECT, TOKEN_TIMEOUT, TOKEN_SERVER };

/* A completion function's ctx: what it was given to, and how often it was called. */
struct token {
	enum token_kind kind;
	struct judged_socket *socket;
	struct judged_server *server;
	unsigned life;
	unsigned number;
	unsigned calls;
	int returned; /* by the call it was given to */
	bool is_owed; /* it must be called; else it may be */
};

struct judge {
	struct ev_loop *loop;
	struct judged_socket sockets[JUDGE_SOCKETS];
	struct judged_server servers[JUDGE_SERVERS];
	struct token tokens[JUDGE_TOKENS];
	unsigned token_count;
	unsigned calls_running;
	bool contents_mixed; /* a pipe puts one stream into another */
	bool is_ending;
	void (*act)(struct judge *judge, struct judged_socket *socket);
	size_t fds;
};

void judge_begin(struct judge *judge);
void judge_end(struct judge *judge);

/* The pattern from position on, at least PATTERN_SIZE - PATTERN_PERIOD bytes of it. */
const char *judge_pattern(uint64_t position);

/* A place for a new socket, or NULL when all are taken. */
struct judged_socket *judge_free_place(struct judge *judge);
/* socket is new and has our ops and place as its ctx. */
void judge_enter(struct judged_socket *place, struct net_socket *socket);
/* A connect returned 0 on what was closed: a new life. */
void judge_reopened(struct judged_socket *place);
void judge_hold(struct judged_socket *place);
void judge_release(struct judged_socket *place);

enum judge_ops { JUDGE_ALL, JUDGE_BUFFERED, JUDGE_DEAF, JUDGE_OPS_END };
const struct net_socket_ops *judge_socket_ops(enum judge_ops which);
extern const struct net_server_ops judge_server_ops;

/* A completion that is to be judged; NULL when there were too many. */
struct token *judge_token(enum token_kind kind, struct judged_socket *socket);
struct token *judge_server_token(struct judged_server *server);
void judge_answer(struct net_socket *socket, int status, void *token);
void judge_server_answer(struct net_server *server, int status, void *token);
void judge_count_answer(struct net_server *server, int status, size_t count, void *token);
/* What the call returned that token was given to. */
void judge_returned(struct token *token, int r);

#endif

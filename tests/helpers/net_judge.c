#include "tests/helpers/net_judge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/macros.h"
#include "common/net/context.h"
#include "tests/helpers/fds.h"

/* Turns of the loop in which all that was destroyed must have been told. */
#define TURNS_MAX 1000

void judge_broken(const char *promise, const char *file, int line)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, promise);
	abort();
}

const char *judge_pattern(uint64_t position)
{
	static char pattern[PATTERN_SIZE];

	if (pattern[1] == 0)
		for (size_t i = 0; i < sizeof(pattern); i++)
			pattern[i] = (char)(i % PATTERN_PERIOD);
	return pattern + position % PATTERN_PERIOD;
}

/* --- events of sockets ----------------------------------------------------------------------- */

/* What is true of every event but the last ones. */
static struct judged_socket *judge_event(struct net_socket *socket, void *ctx)
{
	struct judged_socket *place = ctx;

	REQUIRE(place->judge->calls_running == 0);
	REQUIRE(place->socket == socket);
	REQUIRE(place->is_open && !place->is_closing);
	return place;
}

static struct judged_socket *judge_live_event(struct net_socket *socket, void *ctx)
{
	REQUIRE(!net_socket_destroyed(socket));
	return judge_event(socket, ctx);
}

static void act(struct judged_socket *place)
{
	if (place->judge->act && !place->judge->is_ending)
		place->judge->act(place->judge, place);
}

/* What was given to calls of this life, and is owed an answer, has it. */
static void judge_answered(const struct judged_socket *place, bool connects_only)
{
	for (unsigned i = 0; i < place->judge->token_count; i++) {
		const struct token *token = &place->judge->tokens[i];

		if (token->socket == place && token->life == place->life && token->is_owed &&
		    (!connects_only || token->kind == TOKEN_CONNECT))
			REQUIRE(token->calls == 1);
	}
}

static void on_lookup(struct net_socket *socket, int status, const struct net_address *address,
		      const char *host, void *ctx)
{
	REQUIRE(host && status <= 0 && (status == 0) == (address != NULL));
	act(judge_live_event(socket, ctx));
}

static void on_connect(struct net_socket *socket, void *ctx)
{
	struct judged_socket *place = judge_live_event(socket, ctx);

	REQUIRE(!place->connect_told && place->read == 0);
	REQUIRE(!net_socket_connecting(socket) && !net_socket_pending(socket));
	judge_answered(place, true);
	place->connect_told = true;
	act(place);
}

static void on_ready(struct net_socket *socket, void *ctx)
{
	struct judged_socket *place = judge_live_event(socket, ctx);

	REQUIRE(place->connect_told && place->read == 0);
	act(place);
}

/* What comes must be what the pattern continues with. */
static void judge_data(struct judged_socket *place, const void *data, size_t size)
{
	REQUIRE(size > 0 && !place->end_told);
	REQUIRE(!net_socket_is_paused(place->socket));
	if (place->reads_count && !place->judge->contents_mixed)
		REQUIRE(memcmp(data, judge_pattern(place->read), size) == 0);
	place->read += size;
}

static void on_data(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	struct judged_socket *place = judge_live_event(socket, ctx);

	judge_data(place, data, size);
	act(place);
}

static void *on_buffer(struct net_socket *socket, size_t *ret_size, void *ctx)
{
	struct judged_socket *place = judge_live_event(socket, ctx);

	act(place);
	*ret_size = sizeof(place->buffer);
	return place->buffer;
}

static bool on_read(struct net_socket *socket, void *data, size_t size, void *ctx)
{
	struct judged_socket *place = judge_live_event(socket, ctx);

	judge_data(place, data, size);
	act(place);
	return size % 2 == 0;
}

static void on_drain(struct net_socket *socket, void *ctx)
{
	struct judged_socket *place = judge_live_event(socket, ctx);

	REQUIRE(net_socket_buffer_size(socket) == 0);
	act(place);
}

static void on_end(struct net_socket *socket, void *ctx)
{
	struct judged_socket *place = judge_live_event(socket, ctx);

	REQUIRE(!place->end_told && !net_socket_is_paused(socket));
	if (place->reads_count)
		REQUIRE(place->read == net_socket_bytes_read(socket));
	place->end_told = true;
	act(place);
}

static void on_finish(struct net_socket *socket, void *ctx)
{
	struct judged_socket *place = judge_live_event(socket, ctx);

	REQUIRE(!place->finish_told && net_socket_buffer_size(socket) == 0);
	place->finish_told = true;
	act(place);
}

static void on_timeout(struct net_socket *socket, void *ctx)
{
	act(judge_live_event(socket, ctx));
}

static void on_error(struct net_socket *socket, const struct net_error *error, void *ctx)
{
	struct judged_socket *place = judge_event(socket, ctx);

	REQUIRE(!place->error_told && net_socket_destroyed(socket));
	REQUIRE(error->code < 0 && error->text && error->text[0] != '\0');
	REQUIRE(error->error_count == 0 || error->errors);
	judge_answered(place, true);
	place->error_told = true;
	act(place);
}

static void judge_counters(const struct judged_socket *place)
{
	if (place->reads_count)
		REQUIRE(place->read == net_socket_bytes_read(place->socket));
	if (place->writes_count)
		REQUIRE(place->written == net_socket_bytes_written(place->socket));
	REQUIRE(net_socket_buffer_size(place->socket) == 0);
}

static void on_close(struct net_socket *socket, bool had_error, void *ctx)
{
	struct judged_socket *place = judge_event(socket, ctx);

	REQUIRE(net_socket_destroyed(socket) && had_error == place->error_told);
	judge_counters(place);
	judge_answered(place, false);
	place->is_open = false;
	place->is_closing = true;
	act(place);
	place->is_closing = false;
	if (!place->is_open && place->holds == 0)
		place->socket = NULL;
}

#define COMMON_OPS                                                                                \
	.on_lookup = on_lookup, .on_connect = on_connect, .on_ready = on_ready,                   \
	.on_drain = on_drain, .on_end = on_end, .on_finish = on_finish, .on_timeout = on_timeout, \
	.on_error = on_error, .on_close = on_close

const struct net_socket_ops *judge_socket_ops(enum judge_ops which)
{
	static const struct net_socket_ops ops[] = {
		[JUDGE_ALL] = {COMMON_OPS, .on_data = on_data},
		[JUDGE_BUFFERED] = {COMMON_OPS, .on_buffer = on_buffer, .on_read = on_read},
		[JUDGE_DEAF] = {COMMON_OPS},
	};

	return &ops[which];
}

/* --- lives of sockets ------------------------------------------------------------------------ */

struct judged_socket *judge_free_place(struct judge *judge)
{
	for (size_t i = 0; i < ARRAY_LEN(judge->sockets); i++)
		if (!judge->sockets[i].socket)
			return &judge->sockets[i];
	return NULL;
}

static void begin_life(struct judged_socket *place)
{
	place->life++;
	place->is_open = true;
	place->connect_told = place->end_told = place->finish_told = place->error_told = false;
	place->reads_count = !place->is_deaf && !place->is_decoded;
	place->writes_count = true;
	place->read = place->written = 0;
	place->answered = 0;
}

void judge_enter(struct judged_socket *place, struct net_socket *socket)
{
	place->socket = socket;
	place->holds = 0;
	place->is_deaf = place->is_decoded = false;
	begin_life(place);
}

/* Inside on_close it is no longer the closing life that is spoken of. */
void judge_reopened(struct judged_socket *place)
{
	REQUIRE(!place->is_open);
	begin_life(place);
	place->is_closing = false;
}

void judge_hold(struct judged_socket *place)
{
	CALL(place->judge, net_socket_hold(place->socket));
	place->holds++;
}

void judge_release(struct judged_socket *place)
{
	if (place->holds == 0)
		return;
	place->holds--;
	CALL(place->judge, net_socket_release(place->socket));
	if (place->holds == 0 && !place->is_open && !place->is_closing)
		place->socket = NULL;
}

/* --- completions ----------------------------------------------------------------------------- */

static struct token *new_token(struct judge *judge, enum token_kind kind)
{
	struct token *token;

	if (judge->token_count == ARRAY_LEN(judge->tokens))
		return NULL;
	token = &judge->tokens[judge->token_count++];
	*token = (struct token){.kind = kind, .number = judge->token_count};
	return token;
}

struct token *judge_token(enum token_kind kind, struct judged_socket *socket)
{
	struct token *token = new_token(socket->judge, kind);

	if (token) {
		token->socket = socket;
		/* Of no life if the life is over; a connect begins the next one. */
		token->life = socket->is_open ? socket->life : 0;
	}
	return token;
}

struct token *judge_server_token(struct judged_server *server)
{
	struct token *token = new_token(server->judge, TOKEN_SERVER);

	if (token)
		token->server = server;
	return token;
}

void judge_returned(struct token *token, int r)
{
	if (!token)
		return;
	token->returned = r;
	switch (token->kind) {
	case TOKEN_WRITE:
	case TOKEN_END:
		token->is_owed = r != -ENOMEM;
		break;
	case TOKEN_CONNECT:
		token->is_owed = r == 0;
		token->life = r == 0 ? token->socket->life : 0;
		break;
	case TOKEN_TIMEOUT:
	case TOKEN_SERVER:
		break;
	}
}

static void judge_write_answer(const struct token *token, int status)
{
	struct judged_socket *place = token->socket;

	REQUIRE(token->returned >= 0 ? true : status == token->returned);
	if (token->life == 0)
		return;
	REQUIRE(token->number > place->answered);
	place->answered = token->number;
}

void judge_answer(struct net_socket *socket, int status, void *ctx)
{
	struct token *token = ctx;
	struct judged_socket *place = token->socket;

	REQUIRE(place->judge->calls_running == 0);
	REQUIRE(token->calls++ == 0 && status <= 0);
	if (token->life != 0)
		REQUIRE(place->socket == socket && place->is_open && place->life == token->life);
	if (token->kind == TOKEN_WRITE)
		judge_write_answer(token, status);
	if (place->socket)
		act(place);
}

/* --- servers --------------------------------------------------------------------------------- */

static struct judged_server *judge_server_event(struct net_server *server, void *ctx)
{
	struct judged_server *judged = ctx;

	REQUIRE(judged->judge->calls_running == 0 && judged->server == server);
	return judged;
}

static void act_on_any(struct judged_server *judged)
{
	act(&judged->judge->sockets[0]);
}

static void on_listening(struct net_server *server, void *ctx)
{
	struct judged_server *judged = judge_server_event(server, ctx);

	REQUIRE(net_server_listening(server));
	act_on_any(judged);
}

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	struct judged_server *judged = judge_server_event(server, ctx);
	struct judged_socket *place = judge_free_place(judged->judge);

	REQUIRE(net_socket_server(socket) == server && net_server_connections(server) > 0);
	if (!place) {
		CALL(judged->judge, net_socket_destroy(socket, 0));
		return;
	}
	CALL(judged->judge, net_socket_set_ops(socket, judge_socket_ops(JUDGE_ALL), place));
	judge_enter(place, socket);
	act(place);
}

static void on_drop(struct net_server *server, const struct net_drop *drop, void *ctx)
{
	act_on_any(judge_server_event(server, ctx));
}

static void on_server_error(struct net_server *server, const struct net_error *error, void *ctx)
{
	REQUIRE(error->code < 0 && error->text);
	act_on_any(judge_server_event(server, ctx));
}

static void on_server_close(struct net_server *server, void *ctx)
{
	struct judged_server *judged = judge_server_event(server, ctx);

	REQUIRE(++judged->closes <= judged->listens);
	REQUIRE(!net_server_listening(server) && net_server_connections(server) == 0);
	act_on_any(judged);
}

const struct net_server_ops judge_server_ops = {
	.on_listening = on_listening,
	.on_connection = on_connection,
	.on_drop = on_drop,
	.on_error = on_server_error,
	.on_close = on_server_close,
};

void judge_server_answer(struct net_server *server, int status, void *ctx)
{
	struct token *token = ctx;

	judge_server_event(server, token->server);
	REQUIRE(token->calls++ == 0 && status <= 0);
	act_on_any(token->server);
}

void judge_count_answer(struct net_server *server, int status, size_t count, void *ctx)
{
	REQUIRE(status < 0 || count == net_server_connections(server));
	judge_server_answer(server, status, ctx);
}

/* --- the beginning and the end --------------------------------------------------------------- */

void judge_begin(struct judge *judge)
{
	memset(judge, 0, sizeof(*judge));
	judge->fds = open_fd_count();
	judge->loop = ev_loop_new(EVFLAG_AUTO);
	REQUIRE(judge->loop);
	for (size_t i = 0; i < ARRAY_LEN(judge->sockets); i++)
		judge->sockets[i].judge = judge;
	for (size_t i = 0; i < ARRAY_LEN(judge->servers); i++)
		judge->servers[i].judge = judge;
}

static void end_socket(struct judged_socket *place)
{
	if (place->socket && place->is_open)
		CALL(place->judge, net_socket_destroy(place->socket, 0));
	while (place->socket && place->holds > 0)
		judge_release(place);
}

static bool all_ended(const struct judge *judge)
{
	for (size_t i = 0; i < ARRAY_LEN(judge->sockets); i++)
		if (judge->sockets[i].socket)
			return false;
	for (unsigned i = 0; i < judge->token_count; i++)
		if (judge->tokens[i].is_owed && judge->tokens[i].calls == 0)
			return false;
	return true;
}

static void count_down(struct ev_loop *loop, ev_idle *idle, int events)
{
	unsigned *left = idle->data;

	if (--*left == 0)
		ev_idle_stop(loop, idle);
}

static void too_late(struct ev_loop *loop, ev_timer *timer, int events)
{
	abort();
}

/* The loop runs as long as a watcher of ours does, and no longer: nothing is referenced once too
 * often or too seldom. */
static void judge_loop_is_free(struct ev_loop *loop)
{
	unsigned left = 3;
	ev_timer watchdog;
	ev_idle idle;

	ev_now_update(loop);
	ev_timer_init(&watchdog, too_late, 60., 0.);
	ev_timer_start(loop, &watchdog);
	ev_unref(loop);
	ev_idle_init(&idle, count_down);
	idle.data = &left;
	ev_idle_start(loop, &idle);
	ev_run(loop, 0);
	REQUIRE(left == 0);
	ev_ref(loop);
	ev_timer_stop(loop, &watchdog);
}

/* Each object holds its context: a new one would have our reference alone. */
static void judge_context_is_free(struct ev_loop *loop)
{
	struct net_context *context;

	REQUIRE(context_get(loop, &context) == 0 && context->refs == 1);
	context_put(context);
}

void judge_end(struct judge *judge)
{
	judge->is_ending = true;
	for (size_t i = 0; i < ARRAY_LEN(judge->sockets); i++)
		end_socket(&judge->sockets[i]);
	for (size_t i = 0; i < ARRAY_LEN(judge->servers); i++) {
		CALL(judge, net_server_free(judge->servers[i].server));
		judge->servers[i].server = NULL;
	}

	for (int i = 0; i < TURNS_MAX && !all_ended(judge); i++)
		ev_run(judge->loop, EVRUN_NOWAIT);
	REQUIRE(all_ended(judge));
	judge_loop_is_free(judge->loop);
	judge_context_is_free(judge->loop);
	ev_loop_destroy(judge->loop);
	REQUIRE(open_fd_count() == judge->fds);
}

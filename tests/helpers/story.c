#include "tests/helpers/story.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/net/addr.h"

#define DEADLINE_SECONDS 60

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct story *story = CONTAINER_OF(timer, struct story, watchdog);

	fprintf(stderr, "deadline; the story so far: %s\n", story->text);
	if (story->is_late)
		abort();
	story->is_late = true;
	fail();
}

void story_begin(struct story *story)
{
	memset(story, 0, sizeof(*story));
	story->loop = ev_loop_new(EVFLAG_AUTO);
	assert_non_null(story->loop);
	ev_timer_init(&story->watchdog, on_deadline, DEADLINE_SECONDS, 0.);
	ev_timer_start(story->loop, &story->watchdog);
	ev_unref(story->loop);
}

static void count_down(struct ev_loop *loop, ev_idle *idle, int events)
{
	unsigned *turns = idle->data;

	if (--*turns == 0)
		ev_idle_stop(loop, idle);
}

/* A live watcher of the library would keep this loop from ending, and one that was counted off
 * once too often would end it before the idle one has had its turns. */
void story_end(struct story *story)
{
	unsigned turns = 3;
	ev_idle idle;

	ev_idle_init(&idle, count_down);
	idle.data = &turns;
	ev_idle_start(story->loop, &idle);
	ev_now_update(story->loop);
	ev_timer_stop(story->loop, &story->watchdog);
	ev_timer_set(&story->watchdog, DEADLINE_SECONDS, 0.);
	ev_timer_start(story->loop, &story->watchdog);
	ev_run(story->loop, 0);
	assert_int_equal(turns, 0);
	ev_ref(story->loop);
	ev_timer_stop(story->loop, &story->watchdog);
	ev_loop_destroy(story->loop);
}

void story_tell(struct story *story, const char *format, ...)
{
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(story->text + story->size, sizeof(story->text) - story->size, format,
		      arguments);
	va_end(arguments);
	assert_in_range(n, 0, sizeof(story->text) - story->size - 2);
	story->size += (size_t)n;
	story->text[story->size++] = ' ';
	story->text[story->size] = '\0';
}

/* Words are told with a space behind them, and all but the first have one before them. */
static const char *find(const char *text, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
		if ((at == text || at[-1] == ' ') && at[length] == ' ')
			return at;
	return NULL;
}

bool story_has(const struct story *story, const char *word)
{
	return find(story->text, word);
}

size_t story_count(const struct story *story, const char *word)
{
	size_t count = 0;

	for (const char *at = find(story->text, word); at;
	     at = strchr(at, ' '), at = at ? find(at, word) : NULL)
		count++;
	return count;
}

bool story_in_order(const struct story *story, const char *first, const char *second)
{
	const char *at = find(story->text, first);

	return at && find(at, second);
}

void story_forget(struct story *story)
{
	story->size = 0;
	story->text[0] = '\0';
}

/* What is pending runs at the start of a run, and would not keep it from sleeping after that. */
void story_run_for(struct story *story, bool (*done)(void *ctx), void *ctx)
{
	for (;;) {
		ev_run(story->loop, EVRUN_NOWAIT);
		if (done(ctx))
			return;
		ev_run(story->loop, EVRUN_ONCE);
	}
}

static bool is_told(void *ctx)
{
	struct story *story = ctx;

	return story_has(story, story->awaited);
}

void story_run_until(struct story *story, const char *word)
{
	story->awaited = word;
	story_run_for(story, is_told, story);
}

void story_run_ready(struct story *story)
{
	for (int i = 0; i < 5; i++)
		ev_run(story->loop, EVRUN_NOWAIT);
}

static void on_time_over(struct ev_loop *loop, ev_timer *timer, int events)
{
	ev_break(loop, EVBREAK_ALL);
}

void story_run_ms(struct story *story, unsigned ms)
{
	ev_timer timer;

	ev_now_update(story->loop);
	ev_timer_init(&timer, on_time_over, ms / 1e3, 0.);
	ev_timer_start(story->loop, &timer);
	ev_run(story->loop, 0);
}

/* --- actors ---------------------------------------------------------------------------------- */

static void act(struct actor *actor, struct net_socket *socket, enum event event)
{
	actor->socket = socket;
	if (actor->on[event])
		actor->on[event](actor);
}

static void on_lookup(struct net_socket *socket, int status, const struct net_address *address,
		      const char *host, void *ctx)
{
	struct actor *actor = ctx;

	story_tell(actor->story, "%s.lookup:%s", actor->name,
		   address ? address->address : net_error_name(status));
	act(actor, socket, ON_LOOKUP);
}

#define PLAIN_EVENT(word, event)                                    \
	static void on_##word(struct net_socket *socket, void *ctx) \
	{                                                           \
		struct actor *actor = ctx;                          \
                                                                    \
		story_tell(actor->story, "%s." #word, actor->name); \
		act(actor, socket, event);                          \
	}
PLAIN_EVENT(connect, ON_CONNECT)
PLAIN_EVENT(ready, ON_READY)
PLAIN_EVENT(drain, ON_DRAIN)
PLAIN_EVENT(end, ON_END)
PLAIN_EVENT(finish, ON_FINISH)
PLAIN_EVENT(timeout, ON_TIMEOUT)

static void on_attempt(struct net_socket *socket, const struct net_address *address, void *ctx)
{
	struct actor *actor = ctx;

	story_tell(actor->story, "%s.attempt:%s", actor->name, address->address);
	act(actor, socket, ON_ATTEMPT);
}

static void on_attempt_failed(struct net_socket *socket, const struct net_address *address,
			      int status, void *ctx)
{
	struct actor *actor = ctx;

	story_tell(actor->story, "%s.failed:%s", actor->name, net_error_name(status));
	act(actor, socket, ON_ATTEMPT_FAILED);
}

static void on_data(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	struct actor *actor = ctx;
	size_t room = sizeof(actor->data) - actor->size;

	memcpy(actor->data + actor->size, data, size < room ? size : room);
	actor->size += size < room ? size : room;
	actor->received += size;
	if (size < 1000)
		story_tell(actor->story, "%s.data:%zu", actor->name, size);
	act(actor, socket, ON_DATA);
}

static void on_error(struct net_socket *socket, const struct net_error *error, void *ctx)
{
	struct actor *actor = ctx;

	actor->error = error->code;
	snprintf(actor->error_text, sizeof(actor->error_text), "%s", error->text);
	story_tell(actor->story, "%s.error:%s", actor->name, net_error_name(error->code));
	act(actor, socket, ON_ERROR);
}

static void on_close(struct net_socket *socket, bool had_error, void *ctx)
{
	struct actor *actor = ctx;

	story_tell(actor->story, "%s.close%s", actor->name, had_error ? ":error" : "");
	act(actor, socket, ON_CLOSE);
	/* Who connects again inside its close has a life, and a close, before it. */
	if (!net_socket_connecting(socket))
		actor->socket = NULL;
}

const struct net_socket_ops actor_ops = {.on_lookup = on_lookup,
					 .on_connect = on_connect,
					 .on_ready = on_ready,
					 .on_data = on_data,
					 .on_drain = on_drain,
					 .on_end = on_end,
					 .on_finish = on_finish,
					 .on_timeout = on_timeout,
					 .on_error = on_error,
					 .on_close = on_close};
const struct net_socket_ops actor_full_ops = {.on_lookup = on_lookup,
					      .on_connection_attempt = on_attempt,
					      .on_connection_attempt_failed = on_attempt_failed,
					      .on_connect = on_connect,
					      .on_ready = on_ready,
					      .on_data = on_data,
					      .on_drain = on_drain,
					      .on_end = on_end,
					      .on_finish = on_finish,
					      .on_timeout = on_timeout,
					      .on_error = on_error,
					      .on_close = on_close};
const struct net_socket_ops actor_deaf_ops = {.on_lookup = on_lookup,
					      .on_connect = on_connect,
					      .on_ready = on_ready,
					      .on_drain = on_drain,
					      .on_end = on_end,
					      .on_finish = on_finish,
					      .on_timeout = on_timeout,
					      .on_error = on_error,
					      .on_close = on_close};

void actor_done(struct net_socket *socket, int status, void *ctx)
{
	struct actor *actor = ctx;

	actor->status = status;
	story_tell(actor->story, "%s.done:%s", actor->name,
		   status == 0 ? "0" : net_error_name(status));
	act(actor, socket, ON_DONE);
}

void actor_connect(struct actor *actor, struct story *story, const char *name,
		   const struct host *host, const struct net_socket_options *options)
{
	const struct net_connect_options target = {
		.has_port = true, .port = host_port(host), .host = "127.0.0.1"};

	actor->story = story;
	actor->name = name;
	assert_int_equal(net_create_connection(story->loop, &target, options, &actor_ops, actor,
					       &actor->socket),
			 0);
}

/* --- hosts ----------------------------------------------------------------------------------- */

static void host_act(struct host *host, enum host_event event)
{
	if (host->on[event])
		host->on[event](host);
}

static void on_listening(struct net_server *server, void *ctx)
{
	struct host *host = ctx;

	story_tell(host->story, "%s.listening", host->name);
	host_act(host, ON_LISTENING);
}

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	struct host *host = ctx;
	struct actor *guest = NULL;

	for (size_t i = 0; i < host->guest_count && !guest; i++)
		if (host->guests[i] && !host->guests[i]->story)
			guest = host->guests[i];

	story_tell(host->story, "%s.connection", host->name);
	host->latest = socket;
	if (guest) {
		guest->story = host->story;
		guest->socket = socket;
		net_socket_set_ops(socket, host->guest_ops ? host->guest_ops : &actor_ops, guest);
	}
	host_act(host, ON_CONNECTION);
}

static void on_drop(struct net_server *server, const struct net_drop *drop, void *ctx)
{
	struct host *host = ctx;

	host->drop = *drop;
	story_tell(host->story, "%s.drop", host->name);
	host_act(host, ON_DROP);
}

static void on_host_error(struct net_server *server, const struct net_error *error, void *ctx)
{
	struct host *host = ctx;

	host->error = error->code;
	snprintf(host->error_text, sizeof(host->error_text), "%s", error->text);
	story_tell(host->story, "%s.error:%s", host->name, net_error_name(error->code));
	host_act(host, ON_HOST_ERROR);
}

static void on_host_close(struct net_server *server, void *ctx)
{
	struct host *host = ctx;

	story_tell(host->story, "%s.close", host->name);
	host_act(host, ON_HOST_CLOSE);
}

const struct net_server_ops host_ops = {.on_listening = on_listening,
					.on_connection = on_connection,
					.on_drop = on_drop,
					.on_error = on_host_error,
					.on_close = on_host_close};

void host_done(struct net_server *server, int status, void *ctx)
{
	struct host *host = ctx;

	host->status = status;
	story_tell(host->story, "%s.done:%s", host->name,
		   status == 0 ? "0" : net_error_name(status));
}

void host_counted(struct net_server *server, int status, size_t count, void *ctx)
{
	struct host *host = ctx;

	host->status = status;
	host->count = count;
	story_tell(host->story, "%s.counted:%zu", host->name, count);
}

void host_open(struct host *host, struct story *story, const char *name,
	       const struct net_server_options *options)
{
	const struct net_listen_options on = {
		.has_port = true, .host = "127.0.0.1", .exclusive = true};
	char listening[32];

	host->story = story;
	host->name = name;
	assert_int_equal(net_create_server(story->loop, options, &host_ops, host, &host->server),
			 0);
	assert_int_equal(net_server_listen(host->server, &on, NULL, NULL), 0);
	snprintf(listening, sizeof(listening), "%s.listening", name);
	story_run_until(story, listening);
	story_forget(story);
}

int host_port(const struct host *host)
{
	struct net_address address;

	assert_int_equal(net_server_address(host->server, &address), 0);
	return address.port;
}

int plain_connect(const struct host *host)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct addr addr;

	assert_true(fd >= 0);
	assert_int_equal(addr_parse("127.0.0.1", (uint16_t)host_port(host), &addr), 0);
	assert_int_equal(connect(fd, &addr.sa, addr.len), 0);
	return fd;
}

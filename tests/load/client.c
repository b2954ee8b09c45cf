#include "tests/load/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/macros.h"
#include "tests/load/pattern.h"

/* At the end, without any answer: what is still under way then is not waited for. */
#define SILENCE_SECONDS 5.0

/* Apart from each other by more than a few messages. */
#define POSITION_STEP 7919

uint64_t client_position(uint64_t number)
{
	return number * POSITION_STEP;
}

int client_connect(struct client *c, uint64_t number, const struct net_socket_ops *ops, void *ctx,
		   struct net_socket **ret)
{
	const struct load_options *o = c->options;
	struct net_connect_options to = {.path = o->path};
	char source[sizeof("127.0.0.255")];

	if (!o->path) {
		to.has_port = true;
		to.port = o->port;
		to.host = o->host;
	}
	if (o->sources > 0) {
		snprintf(source, sizeof(source), "127.0.0.%u",
			 1 + (unsigned)((c->first + number) % o->sources) % 255);
		to.local_address = source;
	}
	return net_create_connection(c->loop, &to, NULL, ops, ctx, ret);
}

void client_ready(struct client *c)
{
	const char byte = CLIENT_READY;

	/* A parent that is gone is noticed by the end of the pair. */
	if (send(c->parent, &byte, 1, MSG_NOSIGNAL) == -1)
		ev_break(c->loop, EVBREAK_ALL);
}

/* --- the course of it ----------------------------------------------------------------------- */

static void count_unanswered(struct client *c)
{
	char text[64];
	uint64_t pending = c->work->pending(c);

	if (pending == 0)
		return;
	snprintf(text, sizeof(text), "no answer for %g s after the end", SILENCE_SECONDS);
	tally_failure(c->tally, FAILED_ANSWER, text);
	c->tally->failures[FAILED_ANSWER] += pending - 1;
}

static void set_timer(struct client *c, double seconds)
{
	ev_now_update(c->loop);
	ev_timer_stop(c->loop, &c->timer);
	ev_timer_set(&c->timer, seconds, 0);
	ev_timer_start(c->loop, &c->timer);
}

void client_check_end(struct client *c)
{
	if (!c->ending)
		return;
	set_timer(c, SILENCE_SECONDS);
	if (c->work->pending(c) == 0)
		ev_break(c->loop, EVBREAK_ALL);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct client *c = CONTAINER_OF(timer, struct client, timer);

	if (c->ending) {
		count_unanswered(c);
		ev_break(loop, EVBREAK_ALL);
	} else if (!c->tally->measuring && !c->measured) {
		tally_open(c->tally);
		set_timer(c, c->options->duration);
	} else {
		c->measured = true;
		tally_close(c->tally);
		c->work->stop(c);
	}
}

static void on_start(struct client *c)
{
	char text[96];
	int r;

	set_timer(c, c->options->warmup);
	r = c->work->start(c);
	if (r < 0) {
		snprintf(text, sizeof(text), "cannot start: %s", net_error_message(r));
		tally_failure(c->tally, FAILED_CONNECTION, text);
	}
}

static void on_end(struct client *c)
{
	tally_close(c->tally);
	c->work->stop(c);
	c->ending = true;
	client_check_end(c);
}

static void on_command(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct client *c = CONTAINER_OF(watcher, struct client, commands);
	char byte;
	ssize_t n = recv(c->parent, &byte, 1, MSG_DONTWAIT);

	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != 1)
		ev_break(loop, EVBREAK_ALL);
	else if (byte == CLIENT_START)
		on_start(c);
	else if (byte == CLIENT_END)
		on_end(c);
}

static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int client_run(struct client *c, int parent)
{
	const struct load_options *o = c->options;
	int r;

	allow_descriptors();
	c->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
	if (!c->loop)
		return -ENOMEM;
	c->parent = parent;
	ev_init(&c->timer, on_timer);
	ev_io_init(&c->commands, on_command, parent, EV_READ);
	ev_io_start(c->loop, &c->commands);

	r = pattern_init(o->size * o->pipeline);
	if (r == 0)
		r = c->work->open(c);
	if (r < 0)
		return r;
	ev_run(c->loop, 0);
	tally_close(c->tally);
	return 0;
}

/* The seam through which somebody else listens for the servers of a loop. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/net/server.h"
#include "tests/helpers/stage.h"

struct provider {
	unsigned listens;
	unsigned closes;
	unsigned drains;
	unsigned ticket;
	int refusal;
	int fd;
	char host[64];
	struct net_context *context;
};

static int provide(void *ctx, struct net_server *server, const struct net_listen_options *options,
		   unsigned ticket)
{
	struct provider *provider = ctx;

	if (provider->refusal)
		return provider->refusal;
	provider->listens++;
	provider->ticket = ticket;
	provider->fd = options->has_fd ? options->fd : -1;
	strcpy(provider->host, options->host ? options->host : "");
	return 0;
}

static void take_back(void *ctx, struct net_server *server, unsigned ticket)
{
	struct provider *provider = ctx;

	assert_int_equal(ticket, provider->ticket);
	provider->closes++;
}

static void note_drained(void *ctx, struct net_server *server)
{
	struct provider *provider = ctx;

	provider->drains++;
}

static const struct listen_provider provider_calls = {
	.listen = provide, .close = take_back, .drained = note_drained};

static void begin(struct stage *stage, struct provider *provider)
{
	memset(provider, 0, sizeof(*provider));
	assert_int_equal(context_get(stage->story.loop, &provider->context), 0);
	context_set_listen_provider(provider->context, &provider_calls, provider);
	stage_create(stage, NULL);
}

static void end(struct provider *provider)
{
	context_set_listen_provider(provider->context, NULL, NULL);
	context_put(provider->context);
}

static int listening_fd(void)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	struct bound bound;
	const char *which;

	assert_int_equal(bind_open(&options, &bound, &which), 0);
	return bound.fd;
}

static int listen_anywhere(struct stage *stage)
{
	return net_server_listen_port(stage->host.server, 0, "somewhere", 0, host_done,
				      &stage->host);
}

/* LS-1: nothing is known until the answer; then it listens on what it was given. */
static void a_listen_waits_for_its_provider(void **state)
{
	struct stage *stage = *state;
	struct provider provider;
	struct net_address address;

	begin(stage, &provider);
	assert_int_equal(listen_anywhere(stage), 0);
	assert_int_equal(provider.listens, 1);
	assert_string_equal(provider.host, "somewhere");
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "");
	assert_false(net_server_listening(stage->host.server));
	assert_int_equal(net_server_address(stage->host.server, &address), -ENOTCONN);

	server_listened(stage->host.server, provider.ticket, 0, listening_fd(), NULL, "listen");
	assert_string_equal(stage->story.text, "H.done:0 H.listening ");
	close(stage_plain(stage));
	net_server_close(stage->host.server, NULL, NULL);
	assert_int_equal(provider.closes, 1);
	end(&provider);
}

/* ER-2: "bind EADDRINUSE ADDR:PORT", with the real address (DF-10). */
static void a_failure_of_the_provider_is_told(void **state)
{
	struct stage *stage = *state;
	struct provider provider;

	begin(stage, &provider);
	assert_int_equal(
		net_server_listen_port(stage->host.server, 80, NULL, 0, host_done, &stage->host),
		0);
	server_listened(stage->host.server, provider.ticket, -EADDRINUSE, -1, NULL, "bind");
	assert_string_equal(stage->story.text, "H.done:EADDRINUSE H.error:EADDRINUSE ");
	assert_string_equal(stage->host.error_text, "bind EADDRINUSE [::]:80");

	/* The same server may try again. */
	assert_int_equal(listen_anywhere(stage), 0);
	assert_int_equal(provider.listens, 2);
	end(&provider);
}

static void a_provider_that_refuses_is_the_result(void **state)
{
	struct stage *stage = *state;
	struct provider provider;

	begin(stage, &provider);
	provider.refusal = -EPIPE;
	assert_int_equal(listen_anywhere(stage), -EPIPE);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "");
	provider.refusal = 0;
	assert_int_equal(listen_anywhere(stage), 0);
	end(&provider);
}

/* SL-9, LS-12: an answer that nobody waits for is closed. */
static void a_late_answer_is_closed_silently(void **state)
{
	struct stage *stage = *state;
	struct provider provider;
	int fd = listening_fd();
	unsigned first;

	begin(stage, &provider);
	listen_anywhere(stage);
	first = provider.ticket;
	net_server_close(stage->host.server, host_done, &stage->host);
	assert_int_equal(provider.closes, 1);
	server_listened(stage->host.server, first, 0, fd, NULL, "listen");
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "H.done:ECANCELED H.done:0 H.close ");
	end(&provider);
}

/* LS-12: the server stands for a socket elsewhere: it has an address and gets connections. */
static void a_server_may_stand_for_a_socket_elsewhere(void **state)
{
	struct stage *stage = *state;
	struct provider provider;
	struct net_address address;
	struct addr addr;
	int pair[2];

	begin(stage, &provider);
	listen_anywhere(stage);
	assert_int_equal(addr_parse("192.0.2.7", 8124, &addr), 0);
	server_listened(stage->host.server, provider.ticket, 0, -1, &addr, NULL);
	assert_string_equal(stage->story.text, "H.done:0 H.listening ");
	assert_true(net_server_listening(stage->host.server));
	assert_int_equal(net_server_address(stage->host.server, &address), 0);
	assert_string_equal(address.address, "192.0.2.7");

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(server_adopt(stage->host.server, pair[0], &addr), 0);
	plain_send(pair[1], "hi");
	story_run_until(&stage->story, "S.data:2");
	assert_int_equal(net_socket_remote_port(stage->guest.socket), 8124);

	net_server_unref(stage->host.server);
	net_server_close(stage->host.server, NULL, NULL);
	assert_int_equal(provider.closes, 1);
	close(pair[1]);
	story_run_until(&stage->story, "H.close");
	end(&provider);
}

/* LS-4 and what the provider cannot do: those listen by themselves. */
static void exclusive_and_given_sockets_bypass_the_provider(void **state)
{
	struct stage *stage = *state;
	struct provider provider;

	begin(stage, &provider);
	assert_int_equal(
		net_server_listen(stage->host.server,
				  &(struct net_listen_options){.has_port = true, .exclusive = true},
				  NULL, NULL),
		0);
	assert_true(net_server_listening(stage->host.server));
	net_server_close(stage->host.server, NULL, NULL);
	const struct net_listen_options own = {
		.has_fd = true, .fd = listening_fd(), .exclusive = true};
	assert_int_equal(net_server_listen(stage->host.server, &own, NULL, NULL), 0);
	assert_true(net_server_listening(stage->host.server));
	assert_int_equal(provider.listens + provider.closes, 0);
	end(&provider);
}

/* LS-6: a descriptor that is not the caller's alone is the provider's to find, and not closed. */
static void the_number_of_a_descriptor_goes_to_the_provider(void **state)
{
	struct stage *stage = *state;
	struct provider provider;
	int fd = listening_fd();

	begin(stage, &provider);
	assert_int_equal(net_server_listen_fd(stage->host.server, fd, 0, host_done, &stage->host),
			 0);
	assert_int_equal(provider.listens, 1);
	assert_int_equal(provider.fd, fd);
	server_listened(stage->host.server, provider.ticket, -EBADF, -1, NULL, "bind");
	assert_string_equal(stage->story.text, "H.done:EBADF H.error:EBADF ");
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	close(fd);
	end(&provider);
}

/* GC-4: connections of a listener outlive it, and whoever counts them learns when they do not. */
static void the_provider_learns_when_a_closed_server_has_no_connections(void **state)
{
	struct stage *stage = *state;
	struct provider provider;
	struct addr addr;
	int pair[2];

	begin(stage, &provider);
	listen_anywhere(stage);
	assert_int_equal(addr_parse("192.0.2.7", 8124, &addr), 0);
	server_listened(stage->host.server, provider.ticket, 0, -1, &addr, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(server_adopt(stage->host.server, pair[0], &addr), 0);
	story_run_until(&stage->story, "H.connection");

	net_server_close(stage->host.server, NULL, NULL);
	story_run_ready(&stage->story);
	assert_int_equal(provider.closes, 1);
	assert_int_equal(provider.drains, 0);
	close(pair[1]);
	story_run_until(&stage->story, "H.close");
	assert_int_equal(provider.drains, 1);
	end(&provider);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(a_listen_waits_for_its_provider),
		on_stage(a_failure_of_the_provider_is_told),
		on_stage(a_provider_that_refuses_is_the_result),
		on_stage(a_late_answer_is_closed_silently),
		on_stage(a_server_may_stand_for_a_socket_elsewhere),
		on_stage(exclusive_and_given_sockets_bypass_the_provider),
		on_stage(the_number_of_a_descriptor_goes_to_the_provider),
		on_stage(the_provider_learns_when_a_closed_server_has_no_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

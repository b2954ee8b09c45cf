/* Requirements on connecting, addresses and idle time that the tests of those modules do not show.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/net/bind.h"
#include "common/net/socket.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/stage.h"
#include "tests/helpers/wait.h"

/* Long enough for a loaded machine to keep two of them apart. */
#define PERIOD_MS 200

/* --- a peer that is silent ------------------------------------------------------------------- */

/* A listener whose queue is full: the kernel drops what asks for more. */
struct silence {
	struct bound bound;
	int waiting[3];
};

static int be_silent(struct silence *silence)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1", .backlog = 1};
	const char *which;

	assert_int_equal(bind_open(&options, &silence->bound, &which), 0);
	for (size_t i = 0; i < ARRAY_LEN(silence->waiting); i++) {
		silence->waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
					     0);
		assert_true(connect(silence->waiting[i], &silence->bound.addr.sa,
				    silence->bound.addr.len) == 0 ||
			    errno == EINPROGRESS);
	}
	kernel_await_queue(silence->bound.fd, 2);
	return addr_port(&silence->bound.addr);
}

static void end_silence(struct silence *silence)
{
	for (size_t i = 0; i < ARRAY_LEN(silence->waiting); i++)
		close(silence->waiting[i]);
	bound_close(&silence->bound);
}

/* CN-10, TO-3: nothing but the idle timer ends the wait, and that only says so. */
static void connecting_waits_and_the_idle_timer_covers_it(void **state)
{
	struct stage *stage = *state;
	struct silence silence;
	int port = be_silent(&silence);

	stage_unconnected(stage);
	assert_int_equal(
		stage_connect_to(stage, (struct net_connect_options){.has_port = true,
								     .port = port,
								     .host = "127.0.0.1",
								     .timeout_ms = PERIOD_MS}),
		0);
	story_run_until(&stage->story, "C.timeout");
	story_run_ms(&stage->story, 3 * PERIOD_MS);
	assert_string_equal(stage->story.text, "C.timeout ");
	assert_true(net_socket_connecting(stage->client.socket));
	end_silence(&silence);
}

/* CN-7: destroyed while the kernel connects. */
static void destroy_during_the_handshake_is_one_close(void **state)
{
	struct stage *stage = *state;
	struct silence silence;
	int port = be_silent(&silence);
	size_t before;

	stage_unconnected(stage);
	before = open_fd_count();
	assert_int_equal(
		net_socket_connect_port(stage->client.socket, port, "127.0.0.1", NULL, NULL), 0);
	story_run_ready(&stage->story);
	assert_true(open_fd_count() > before);
	net_socket_destroy(stage->client.socket, 0);
	assert_int_equal(open_fd_count(), before);
	story_run_until(&stage->story, "C.close");
	end_silence(&silence);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "C.close ");
}

/* --- states ---------------------------------------------------------------------------------- */

static void note_state(struct actor *actor)
{
	actor->status = net_socket_ready_state(actor->socket);
	assert_true(net_socket_pending(actor->socket));
}

/* CN-2: before there is a connection and after its end a socket is closed, and pending. */
static void without_a_connection_a_socket_is_closed_and_pending(void **state)
{
	struct stage *stage = *state;

	stage_unconnected(stage);
	assert_int_equal(net_socket_ready_state(stage->client.socket), NET_CLOSED);
	assert_true(net_socket_pending(stage->client.socket));
	assert_false(net_socket_connecting(stage->client.socket));

	stage_open(stage, NULL);
	assert_int_equal(net_socket_connect_port(stage->client.socket, host_port(&stage->host),
						 "127.0.0.1", NULL, NULL),
			 0);
	story_run_until(&stage->story, "C.ready");
	stage->client.on[ON_CLOSE] = note_state;
	stage->client.status = -1;
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "C.close");
	assert_int_equal(stage->client.status, NET_CLOSED);
}

static void write_early(struct host *host)
{
	net_socket_write(host->latest, "early", 5, NULL, NULL);
}

/* CN-4: the first read is told after on_ready, however early the data came. */
static void the_first_data_comes_after_ready(void **state)
{
	struct stage *stage = *state;

	stage_open_path(stage, NULL);
	stage_unconnected(stage);
	stage->host.on[ON_CONNECTION] = write_early;
	assert_int_equal(net_socket_connect_path(stage->client.socket, stage->path, actor_done,
						 &stage->client),
			 0);
	story_run_until(&stage->story, "C.data:5");
	assert_true(story_in_order(&stage->story, "C.done:0", "C.connect"));
	assert_true(story_in_order(&stage->story, "C.connect", "C.ready"));
	assert_true(story_in_order(&stage->story, "C.ready", "C.data:5"));
}

static void reconnect_once(struct actor *actor)
{
	const struct host *host = actor->other;

	actor->on[ON_CLOSE] = NULL;
	assert_int_equal(
		net_socket_connect_port(actor->socket, host_port(host), "127.0.0.1", NULL, NULL),
		0);
	actor->status = (int)net_socket_bytes_read(actor->socket);
	assert_int_equal(net_socket_bytes_written(actor->socket), 0);
}

/* CN-8: a new life has new counters, and the options of the old one. */
static void a_second_life_has_new_counters_and_the_old_options(void **state)
{
	struct stage *stage = *state;
	struct net_socket *socket;

	stage_connected(stage);
	socket = stage->client.socket;
	net_socket_set_no_delay(socket, true);
	net_socket_set_keep_alive(socket, true, 7000);
	stage->client.on[ON_CLOSE] = reconnect_once;
	stage->client.other = &stage->host;
	stage->client.status = -1;
	net_socket_write(stage->guest.socket, "12345", 5, NULL, NULL);
	story_run_until(&stage->story, "C.data:5");
	net_socket_end(socket, "bye", 3, NULL, NULL);
	story_run_until(&stage->story, "C.ready");
	stage->client.socket = socket;
	assert_int_equal(stage->client.status, 0);
	assert_false(net_socket_destroyed(socket));
	assert_int_equal(option_of(socket, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option_of(socket, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option_of(socket, IPPROTO_TCP, TCP_KEEPIDLE), 7);
}

static void close_it(struct net_socket *socket, int status, void *ctx)
{
	net_socket_destroy(socket, 0);
}

static char big[8 << 20];

/* CN-8, EN-1: a life that was destroyed as its end was done owes the next one no finish. */
static void a_second_life_does_not_finish_for_the_first(void **state)
{
	struct stage *stage = *state;
	struct net_socket *socket;

	stage_connected(stage);
	socket = stage->client.socket;
	stage->client.on[ON_CLOSE] = reconnect_once;
	stage->client.other = &stage->host;
	net_socket_end(socket, NULL, 0, close_it, NULL);
	story_run_until(&stage->story, "C.ready");
	stage->client.socket = socket;
	story_forget(&stage->story);

	assert_int_equal(net_socket_write(socket, big, sizeof(big), NULL, NULL), 0);
	story_run_until(&stage->story, "C.drain");
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "C.finish"));
}

/* --- several addresses ----------------------------------------------------------------------- */

struct answers {
	struct net_address addresses[2];
	struct net_lookup *waiting;
	ev_timer timer;
	int64_t at_ms; /* when the timer ran */
};

static int answer(struct net_lookup *lookup, const char *host, int family, int hints, void *ctx)
{
	struct answers *answers = ctx;

	net_lookup_reply(lookup, 0, answers->addresses, ARRAY_LEN(answers->addresses));
	return 0;
}

/* CN-11: who names a way out gets the first address and no other. */
static void with_a_local_address_only_the_first_address_is_tried(void **state)
{
	struct answers answers = {.addresses = {{.address = "127.0.0.2", .family = 4},
						{.address = "127.0.0.1", .family = 4}}};
	struct stage *stage = *state;

	stage_open(stage, NULL);
	stage_unconnected(stage);
	assert_int_equal(
		stage_connect_to(stage,
				 (struct net_connect_options){.has_port = true,
							      .port = host_port(&stage->host),
							      .host = "some.name",
							      .local_address = "127.0.0.1",
							      .lookup = answer,
							      .lookup_ctx = &answers}),
		0);
	story_run_until(&stage->story, "C.close:error");
	assert_int_equal(stage->client.error, -ECONNREFUSED);
	assert_false(story_has(&stage->story, "H.connection"));
}

/* --- addresses ------------------------------------------------------------------------------- */

/* AD-2: seen from the listener, both ends of a v4 client are mapped. */
static void the_local_address_of_a_v4_client_is_mapped_too(void **state)
{
	struct stage *stage = *state;
	struct net_address address;
	int fd;

	stage_create(stage, NULL);
	assert_int_equal(net_server_listen(stage->host.server, NULL, NULL, NULL), 0);
	fd = plain_connect(&stage->host);
	story_run_until(&stage->story, "H.connection");
	assert_int_equal(net_socket_local_address(stage->guest.socket, &address), 0);
	assert_string_equal(address.address, "::ffff:127.0.0.1");
	assert_int_equal(net_socket_local_family(stage->guest.socket), 6);
	close(fd);
}

static void note_remote(struct actor *actor)
{
	struct net_address address;

	assert_int_equal(net_socket_remote_address(actor->socket, &address), 0);
	assert_string_equal(address.address, "127.0.0.1");
	actor->status = address.port;
}

/* AD-3: of an accepted socket too, though nobody asked before. */
static void the_peer_of_an_accepted_socket_is_known_after_the_end(void **state)
{
	struct stage *stage = *state;
	int port;

	stage_connected(stage);
	port = net_socket_local_port(stage->client.socket);
	stage->guest.on[ON_CLOSE] = note_remote;
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "S.close");
	assert_int_equal(stage->guest.status, port);
}

/* --- idle time ------------------------------------------------------------------------------- */

static int wait_with_the_answer(struct net_lookup *lookup, const char *host, int family, int hints,
				void *ctx)
{
	struct answers *answers = ctx;

	answers->waiting = lookup;
	return 0;
}

static void reply_now(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct answers *answers = CONTAINER_OF(timer, struct answers, timer);

	answers->at_ms = now_ms();
	net_lookup_reply(answers->waiting, 0, answers->addresses, 1);
}

/* TO-3: the result of a lookup is activity: a whole period goes by after it, however late the
 * machine lets the two timers run. */
static void the_result_of_a_lookup_is_activity(void **state)
{
	struct answers answers = {.addresses = {{.address = "127.0.0.1", .family = 4}}};
	struct stage *stage = *state;
	struct silence silence;
	int port = be_silent(&silence);

	stage_unconnected(stage);
	assert_int_equal(
		stage_connect_to(stage, (struct net_connect_options){.has_port = true,
								     .port = port,
								     .host = "some.name",
								     .lookup = wait_with_the_answer,
								     .lookup_ctx = &answers,
								     .timeout_ms = 2 * PERIOD_MS}),
		0);
	ev_timer_init(&answers.timer, reply_now, PERIOD_MS / 1e3, 0.);
	ev_timer_start(stage->story.loop, &answers.timer);
	story_run_until(&stage->story, "C.lookup:127.0.0.1");
	story_forget(&stage->story);
	story_run_until(&stage->story, "C.timeout");
	assert_true(now_ms() - answers.at_ms >= 2 * PERIOD_MS);
	end_silence(&silence);
}

static int64_t ended_ms;

static void end_it(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct stage *stage = timer->data;

	ended_ms = now_ms();
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
}

static void assert_that_the_end_is_activity(struct stage *stage)
{
	const struct net_server_options options = {.allow_half_open = true};
	ev_timer timer;

	stage_open(stage, &options);
	stage_connect(stage, NULL);
	net_socket_set_timeout(stage->guest.socket, 2 * PERIOD_MS, NULL, NULL);
	ev_timer_init(&timer, end_it, PERIOD_MS / 1e3, 0.);
	timer.data = stage;
	ev_timer_start(stage->story.loop, &timer);
	story_run_until(&stage->story, "S.end");
	story_forget(&stage->story);
	story_run_until(&stage->story, "S.timeout");
	assert_true(now_ms() - ended_ms >= 2 * PERIOD_MS);
}

/* TO-3: the peer's end is activity. */
static void the_end_of_the_peer_is_activity(void **state)
{
	assert_that_the_end_is_activity(*state);
}

/* TO-3: the same when nobody reads. */
static void the_end_is_activity_without_a_reader_too(void **state)
{
	struct stage *stage = *state;

	stage->host.guest_ops = &actor_deaf_ops;
	assert_that_the_end_is_activity(stage);
}

/* TO-1, EN-6: destroy stops the timer, also between its end and on_close. */
static void a_destroyed_socket_has_no_idle_time(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_set_timeout(stage->client.socket, 1, actor_done, &stage->client);
	net_socket_destroy(stage->client.socket, 0);
	assert_int_equal(net_socket_timeout(stage->client.socket), 0);
	story_run_ms(&stage->story, PERIOD_MS);
	assert_false(story_has(&stage->story, "C.timeout"));
	assert_false(story_has(&stage->story, "C.done:0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(connecting_waits_and_the_idle_timer_covers_it),
		on_stage(destroy_during_the_handshake_is_one_close),
		on_stage(without_a_connection_a_socket_is_closed_and_pending),
		on_stage(the_first_data_comes_after_ready),
		on_stage(a_second_life_has_new_counters_and_the_old_options),
		on_stage(a_second_life_does_not_finish_for_the_first),
		on_stage(with_a_local_address_only_the_first_address_is_tried),
		on_stage(the_local_address_of_a_v4_client_is_mapped_too),
		on_stage(the_peer_of_an_accepted_socket_is_known_after_the_end),
		on_stage(the_result_of_a_lookup_is_activity),
		on_stage(the_end_of_the_peer_is_activity),
		on_stage(the_end_is_activity_without_a_reader_too),
		on_stage(a_destroyed_socket_has_no_idle_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* From sources to takers that come and go, over real sockets and channels. */
#include "common/cluster/dispatch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/bind.h"
#include "tests/helpers/fds.h"

#define WATCHDOG_S 20

/* A taker, and the worker's end of its channel. */
struct worker {
	struct taker taker;
	struct channel ours;
	struct channel theirs;
	struct claims claims;
	size_t handed;     /* connections that have come */
	struct addr first; /* the client of the first one */
	uint32_t last;     /* number of the last one */
};

struct fixture {
	struct ev_loop *loop;
	ev_timer watchdog;
	struct dispatcher dispatcher;
	struct bound bound[2];
	struct source sources[2];
	struct worker workers[2];
	int clients[16];
	size_t n_clients;
	size_t dropped;
	size_t broken;
	size_t returned;
	const struct taker *told[4];
	size_t n_told;
	bool late;
	size_t fds;
};

static struct fixture *fixture;

static void on_handed(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct worker *w = ctx;

	if (message->type != IPC_HANDOFF)
		return;
	if (w->handed == 0) {
		w->first.len = sizeof(w->first.un);
		assert_int_equal(getpeername(message->fds[0], &w->first.sa, &w->first.len), 0);
	}
	w->handed += message->n_fds;
	w->last = ((const struct ipc_handoff *)message->body)->first + (uint32_t)message->n_fds - 1;
}

static void on_answer(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct worker *w = ctx;

	assert_int_equal(message->type, IPC_PROGRESS);
	assert_int_equal(dispatch_progress(&fixture->dispatcher, &w->taker, message), 0);
}

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
}

static const struct channel_ops our_ops = {.on_message = on_answer, .on_lost = on_lost};
static const struct channel_ops their_ops = {.on_message = on_handed, .on_lost = on_lost};

static void on_complaint(const struct taker *taker, const char *what, int error, void *ctx)
{
}

static void on_taker(const struct taker *taker, void *ctx)
{
}

static void on_broke(struct taker *taker, void *ctx)
{
	((struct fixture *)ctx)->broken++;
	channel_close(taker->channel);
}

static void on_dropped(size_t count, void *ctx)
{
	((struct fixture *)ctx)->dropped += count;
}

static void on_returned(const struct taker *taker, const struct transit *transit, void *ctx)
{
	((struct fixture *)ctx)->returned++;
}

static const struct dispatch_ops ops = {
	.returned = on_returned,
	.complaint = on_complaint,
	.late = on_taker,
	.again = on_taker,
	.broke = on_broke,
	.dropped = on_dropped,
};

static void on_watchdog(struct ev_loop *loop, ev_timer *timer, int events)
{
	fixture->late = true;
}

static void open_worker(struct fixture *f, unsigned int i)
{
	struct worker *w = &f->workers[i];
	AUTO_CLOSE int page = -1;
	int pair[2];

	assert_int_equal(channel_pair(pair), 0);
	assert_int_equal(channel_open(&w->ours, f->loop, pair[0], IPC_SUPERVISOR, &our_ops, w), 0);
	assert_int_equal(channel_open(&w->theirs, f->loop, pair[1], IPC_WORKER, &their_ops, w), 0);
	taker_init(&w->taker, i + 1, &w->ours);
	assert_int_equal(handoff_open(&w->taker.handoff, &page), 0);
	assert_int_equal(claims_open(&w->claims, page), 0);
	w->taker.ready = true;
	dispatch_add_taker(&f->dispatcher, &w->taker);
}

static void open_source(struct fixture *f, unsigned int i)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	const char *which;

	assert_int_equal(bind_open(&options, &f->bound[i], &which), 0);
	f->sources[i] = (struct source){
		.id = i + 1,
		.fd = f->bound[i].fd,
		.policy = POLICY_ROUND_ROBIN,
	};
	dispatch_add_source(&f->dispatcher, &f->sources[i]);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	fixture = f;
	f->fds = open_fd_count();
	f->loop = ev_loop_new(EVFLAG_AUTO);
	ev_timer_init(&f->watchdog, on_watchdog, WATCHDOG_S, 0);
	ev_timer_start(f->loop, &f->watchdog);
	dispatch_init(&f->dispatcher, f->loop, &ops, f);
	for (unsigned int i = 0; i < 2; i++) {
		open_source(f, i);
		open_worker(f, i);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dispatch_done(&f->dispatcher);
	for (size_t i = 0; i < f->n_clients; i++)
		close(f->clients[i]);
	for (size_t i = 0; i < 2; i++) {
		channel_close(&f->workers[i].ours);
		channel_close(&f->workers[i].theirs);
		taker_done(&f->workers[i].taker);
		claims_close(&f->workers[i].claims);
		bound_close(&f->bound[i]);
	}
	ev_loop_destroy(f->loop);
	assert_int_equal(open_fd_count(), f->fds);
	free(f);
	return 0;
}

static void join(struct fixture *f, size_t worker, size_t source)
{
	assert_int_equal(taker_join(&f->workers[worker].taker, f->sources[source].id), 0);
	dispatch_update(&f->dispatcher);
}

static int connect_to(struct fixture *f, size_t source)
{
	const struct addr *a = &f->bound[source].addr;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &a->sa, a->len), 0);
	f->clients[f->n_clients++] = fd;
	return fd;
}

#define RUN_UNTIL(f, condition)                        \
	do {                                           \
		while (!(condition) && !(f)->late)     \
			ev_run((f)->loop, EVRUN_ONCE); \
		assert_false((f)->late);               \
	} while (0)

/* Whatever is ready, and what follows from it. */
static void run_ready(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		ev_run(f->loop, EVRUN_NOWAIT);
}

/* A client of source 0 is on its way to worker 0. */
static int hand_first(struct fixture *f)
{
	int client;

	join(f, 0, 0);
	client = connect_to(f, 0);
	RUN_UNTIL(f, f->workers[0].handed == 1);
	return client;
}

static void only_who_has_joined_a_source_gets_its_connections(void **state)
{
	struct fixture *f = *state;

	join(f, 0, 0);
	join(f, 1, 1);
	for (int i = 0; i < 3; i++) {
		connect_to(f, 0);
		connect_to(f, 1);
	}
	connect_to(f, 1);
	RUN_UNTIL(f, f->workers[0].handed == 3 && f->workers[1].handed == 4);
}

static void a_source_that_nobody_has_joined_keeps_its_queue(void **state)
{
	struct fixture *f = *state;

	join(f, 0, 0);
	connect_to(f, 1);
	connect_to(f, 0);
	RUN_UNTIL(f, f->workers[0].handed == 1);
	run_ready(f);
	assert_int_equal(f->workers[1].handed, 0);

	join(f, 1, 1);
	RUN_UNTIL(f, f->workers[1].handed == 1);
}

/* What waits for the takers of one source holds up no other one. */
static void what_is_parked_is_in_nobody_elses_way(void **state)
{
	struct fixture *f = *state;

	hand_first(f);
	dispatch_remove_taker(&f->dispatcher, &f->workers[0].taker);

	join(f, 1, 1);
	connect_to(f, 1);
	RUN_UNTIL(f, f->workers[1].handed == 1);
	join(f, 1, 0);
	RUN_UNTIL(f, f->workers[1].handed == 2);
	assert_int_equal(f->dropped, 0);
}

static bool note_waiting(const struct transit *transit, const struct taker *taker, void *ctx)
{
	struct fixture *f = ctx;

	f->told[f->n_told++ % ARRAY_LEN(f->told)] = taker;
	return f->n_told < ARRAY_LEN(f->told);
}

/* What no taker has is known: to whom it is on its way, and that it came back. */
static void what_waits_is_told_and_counted(void **state)
{
	struct fixture *f = *state;
	uint32_t counts[3] = {0};

	join(f, 0, 0);
	connect_to(f, 0);
	connect_to(f, 0);
	RUN_UNTIL(f, f->workers[0].handed == 2);
	dispatch_each_waiting(&f->dispatcher, note_waiting, f);
	assert_int_equal(f->n_told, 2);
	assert_ptr_equal(f->told[1], &f->workers[0].taker);
	dispatch_count_parked(&f->dispatcher, counts, ARRAY_LEN(counts));
	assert_int_equal(counts[f->sources[0].id], 0);
	assert_int_equal(f->returned, 0);

	dispatch_bury(&f->dispatcher, &f->workers[0].taker);
	assert_int_equal(f->returned, 2);
	dispatch_count_parked(&f->dispatcher, counts, ARRAY_LEN(counts));
	assert_int_equal(counts[f->sources[0].id], 2);
	f->n_told = 0;
	dispatch_each_waiting(&f->dispatcher, note_waiting, f);
	assert_int_equal(f->n_told, 2);
	assert_null(f->told[1]);
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT) != -1 || errno != EAGAIN;
}

static void what_comes_back_of_a_removed_source_is_closed(void **state)
{
	struct fixture *f = *state;
	int client;

	join(f, 0, 0);
	join(f, 1, 0);
	client = connect_to(f, 0);
	RUN_UNTIL(f, f->workers[0].handed == 1);
	dispatch_remove_source(&f->dispatcher, &f->sources[0]);
	assert_false(taker_has_joined(&f->workers[0].taker, f->sources[0].id));
	run_ready(f);
	assert_false(is_closed(client));

	dispatch_bury(&f->dispatcher, &f->workers[0].taker);
	RUN_UNTIL(f, is_closed(client));
	assert_int_equal(f->workers[1].handed, 0);
}

static void what_is_parked_of_a_removed_source_is_closed_and_told(void **state)
{
	struct fixture *f = *state;
	int client;

	client = hand_first(f);
	dispatch_bury(&f->dispatcher, &f->workers[0].taker);
	assert_false(is_closed(client));
	dispatch_remove_source(&f->dispatcher, &f->sources[0]);
	RUN_UNTIL(f, is_closed(client));
	assert_int_equal(f->dropped, 1);
}

static void say_progress(struct worker *w, uint32_t listener)
{
	const struct ipc_progress body = {.taken = w->last};
	const struct ipc_counted_row row = {.listener = listener, .connections = 1};

	assert_int_equal(channel_send(&w->theirs, IPC_PROGRESS, &body, &row, 1, NULL), 0);
}

/* The message may have been on its way when the source went. */
static void word_of_a_removed_source_is_no_fault(void **state)
{
	struct fixture *f = *state;
	struct worker *w = &f->workers[0];

	hand_first(f);
	dispatch_remove_source(&f->dispatcher, &f->sources[0]);
	claims_take(&w->claims, w->last);
	say_progress(w, f->sources[0].id);
	RUN_UNTIL(f, handoff_unanswered(&w->taker.handoff) == 0);
	assert_int_equal(taker_connections(&w->taker, f->sources[0].id), 0);
}

/* KF-2: without a word of the worker, and though nobody else comes. */
static void what_is_taken_is_let_go_soon(void **state)
{
	struct fixture *f = *state;
	struct worker *w = &f->workers[0];

	hand_first(f);
	assert_true(claims_is_held(&w->claims, 1));
	claims_take(&w->claims, 1);
	RUN_UNTIL(f, !claims_is_held(&w->claims, 1));
	run_ready(f);
	assert_false(ev_is_active(&f->dispatcher.look));
}

/* Those that were taken are seen before the next one is given. */
static void a_look_comes_before_each_choice(void **state)
{
	struct fixture *f = *state;
	struct worker *w = &f->workers[0];

	hand_first(f);
	claims_take(&w->claims, 1);
	connect_to(f, 0);
	RUN_UNTIL(f, w->handed == 2);
	assert_false(claims_is_held(&w->claims, 1));
	assert_int_equal(handoff_unanswered(&w->taker.handoff), 1);
}

/* A client of source 0 waits in the kernel's queue, for its takers have no room. */
static void fill(struct fixture *f)
{
	f->workers[0].taker.handoff.full = EMFILE;
	connect_to(f, 0);
	RUN_UNTIL(f, claims_wants_bell(&f->workers[0].claims));
	run_ready(f);
	assert_int_equal(f->workers[0].handed, 1);
	assert_false(ev_is_active(&f->sources[0].acceptor));
}

static void who_waits_for_room_is_rung_for(void **state)
{
	struct fixture *f = *state;
	struct worker *w = &f->workers[0];

	join(f, 0, 1);
	hand_first(f);
	fill(f);
	handoff_retry(&w->taker.handoff);
	claims_take(&w->claims, 1);
	say_progress(w, f->sources[0].id);
	RUN_UNTIL(f, w->handed == 2);
	assert_false(claims_wants_bell(&w->claims));
}

static void nobody_is_rung_for_before_a_client_comes(void **state)
{
	struct fixture *f = *state;
	struct worker *w = &f->workers[0];

	hand_first(f);
	w->taker.handoff.full = EMFILE;
	dispatch_update(&f->dispatcher);
	assert_false(claims_wants_bell(&w->claims));
}

/* The worker did not see the bell yet, so it will not ring. */
static void what_was_taken_before_the_bell_was_wanted_is_seen(void **state)
{
	struct fixture *f = *state;
	struct worker *w = &f->workers[1];

	hand_first(f);
	join(f, 1, 1);
	connect_to(f, 1);
	RUN_UNTIL(f, w->handed == 1);
	claims_take(&w->claims, 1);
	dispatch_bury(&f->dispatcher, &f->workers[0].taker);
	assert_true(claims_wants_bell(&w->claims));
	assert_int_equal(handoff_unanswered(&w->taker.handoff), 0);
}

/* Nobody says so when a taker is able no more: the next client shows it. */
static void who_comes_when_no_taker_is_able_waits_and_keeps_nobody_busy(void **state)
{
	struct fixture *f = *state;
	struct worker *w = &f->workers[0];

	hand_first(f);
	w->taker.ready = false;
	assert_true(ev_is_active(&f->sources[0].acceptor));
	connect_to(f, 0);
	RUN_UNTIL(f, !ev_is_active(&f->sources[0].acceptor));
	assert_int_equal(w->handed, 1);

	w->taker.ready = true;
	dispatch_update(&f->dispatcher);
	RUN_UNTIL(f, w->handed == 2);
}

static void who_is_parked_comes_before_who_comes_later(void **state)
{
	struct fixture *f = *state;
	struct worker *w = &f->workers[1];
	struct addr parked = {.len = sizeof(parked.un)};
	int client;

	w->taker.ready = false;
	join(f, 1, 0);
	client = hand_first(f);
	dispatch_bury(&f->dispatcher, &f->workers[0].taker);
	assert_true(ev_is_active(&f->sources[0].acceptor));

	w->taker.ready = true;
	connect_to(f, 0);
	RUN_UNTIL(f, w->handed == 2);
	assert_int_equal(getsockname(client, &parked.sa, &parked.len), 0);
	assert_memory_equal(&w->first.in, &parked.in, sizeof(parked.in));
}

/* As libev does when the kernel refuses to watch one descriptor more. */
static void a_source_that_cannot_be_watched_is_watched_again_soon(void **state)
{
	struct fixture *f = *state;

	join(f, 0, 0);
	ev_io_stop(f->loop, &f->sources[0].acceptor);
	ev_feed_event(f->loop, &f->sources[0].acceptor, EV_ERROR | EV_READ | EV_WRITE);
	connect_to(f, 0);
	ev_run(f->loop, EVRUN_NOWAIT);
	assert_true(f->dispatcher.short_of);
	RUN_UNTIL(f, f->workers[0].handed == 1);
}

/* --- what a connection costs ----------------------------------------------------------------- */

static size_t asked; /* how often something was asked of the meter */

static bool is_open(const struct source *source)
{
	asked++;
	return true;
}

static bool has_room(const struct source *source, const struct taker *taker)
{
	asked++;
	return true;
}

static void on_source(struct source *source)
{
	asked++;
}

static void on_handoff(struct source *source, struct handoff *handoff)
{
	asked++;
}

static const struct source_meter meter = {
	.is_open = is_open,
	.has_room = has_room,
	.accepted = on_source,
	.closed = on_source,
	.reckoned = on_source,
	.taken = on_handoff,
	.late = on_handoff,
};

/* Gives one to worker 0, which takes it; and that is seen. */
static void serve_one(struct fixture *f, size_t source)
{
	struct worker *w = &f->workers[0];
	size_t handed = w->handed;

	connect_to(f, source);
	RUN_UNTIL(f, w->handed == handed + 1);
	claims_take(&w->claims, w->last);
	RUN_UNTIL(f, !claims_is_held(&w->claims, w->last));
}

static void a_connection_costs_the_same_however_many_other_sources_there_are(void **state)
{
	struct fixture *f = *state;

	join(f, 0, 0);
	join(f, 0, 1);
	f->sources[1].meter = &meter;
	asked = 0;
	for (int i = 0; i < 5; i++)
		serve_one(f, 0);
	assert_int_equal(asked, 0);
	serve_one(f, 1);
	assert_int_not_equal(asked, 0);
}

static void what_is_refused_goes_to_another(void **state)
{
	struct fixture *f = *state;
	struct worker *w = &f->workers[0];

	hand_first(f);
	join(f, 1, 0);
	claims_set_reason(&w->claims, 1, EMFILE);
	claims_take(&w->claims, 1);
	say_progress(w, f->sources[0].id);
	RUN_UNTIL(f, f->workers[1].handed == 1);
	assert_int_equal(w->handed, 1);
}

static void a_taker_that_lies_is_ended_and_the_others_serve(void **state)
{
	struct fixture *f = *state;
	struct worker *w = &f->workers[0];

	hand_first(f);
	claims_take(&w->claims, 77);
	join(f, 1, 0);
	connect_to(f, 0);
	RUN_UNTIL(f, f->workers[1].handed == 1);
	assert_int_equal(f->broken, 1);
	dispatch_bury(&f->dispatcher, &w->taker);
	RUN_UNTIL(f, f->workers[1].handed == 2);
	assert_int_equal(f->broken, 1);
}

static void word_of_a_source_that_never_was_is_refused(void **state)
{
	const struct ipc_progress body = {0};
	const struct ipc_counted_row row = {.listener = 3, .connections = 1};
	const struct ipc_message message = {.body = &body, .tail = &row, .tail_count = 1};
	struct fixture *f = *state;

	assert_int_equal(dispatch_progress(&f->dispatcher, &f->workers[0].taker, &message),
			 -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		TEST(only_who_has_joined_a_source_gets_its_connections),
		TEST(a_source_that_nobody_has_joined_keeps_its_queue),
		TEST(what_is_parked_is_in_nobody_elses_way),
		TEST(what_waits_is_told_and_counted),
		TEST(what_comes_back_of_a_removed_source_is_closed),
		TEST(what_is_parked_of_a_removed_source_is_closed_and_told),
		TEST(word_of_a_removed_source_is_no_fault),
		TEST(word_of_a_source_that_never_was_is_refused),
		TEST(what_is_taken_is_let_go_soon),
		TEST(a_look_comes_before_each_choice),
		TEST(who_waits_for_room_is_rung_for),
		TEST(nobody_is_rung_for_before_a_client_comes),
		TEST(what_was_taken_before_the_bell_was_wanted_is_seen),
		TEST(who_comes_when_no_taker_is_able_waits_and_keeps_nobody_busy),
		TEST(who_is_parked_comes_before_who_comes_later),
		TEST(a_source_that_cannot_be_watched_is_watched_again_soon),
		TEST(a_connection_costs_the_same_however_many_other_sources_there_are),
		TEST(what_is_refused_goes_to_another),
		TEST(a_taker_that_lies_is_ended_and_the_others_serve),
#undef TEST
	};

	alarm(60);
	return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}

/* A channel over real sockets on a real loop: what arrives, what waits, and how it ends.
 *
 * The supervisor's end is always a channel. The other is a bare socket, to send what a channel
 * never would, or the worker's channel. Every test ends with a count of descriptors.
 *
 * wrap: malloc */
#include "common/ipc/channel.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/fdpass.h"
#include "common/macros.h"
#include "tests/helpers/fds.h"

#define DEADLINE_S   20
#define REMEMBERED   8192
#define PER_WAKEUP   64 /* messages */
#define COUNTED_ROWS 8000

struct end {
	struct channel channel;
	void (*react)(struct end *end, struct ipc_message *message);
	size_t count; /* of messages that came */
	uint32_t numbers[REMEMBERED];
	size_t last_size; /* of the tail, in elements */
	int taken;        /* the descriptor that react took */
	int lost_count;
	int lost_error;
	char lost_why[128];
};

struct world {
	struct ev_loop *loop;
	ev_timer watchdog;
	bool late;
	struct end supervisor;
	struct end worker;
	int theirs; /* the bare socket, until the worker's channel has it */
	size_t open_before;
};

static bool malloc_fails;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	return malloc_fails ? NULL : __real_malloc(size);
}

/* --- the world ---------------------------------------------------------------------------------
 */

/* Messages in these tests carry their number as the first field of their body. */
static void on_message(struct channel *channel, struct ipc_message *message, void *ctx)
{
	struct end *end = ctx;

	if (end->count < REMEMBERED)
		memcpy(&end->numbers[end->count], message->body, sizeof(end->numbers[0]));
	end->count++;
	end->last_size = message->tail_count;
	if (end->react)
		end->react(end, message);
}

static void on_lost(struct channel *channel, int error, const char *why, void *ctx)
{
	struct end *end = ctx;

	end->lost_count++;
	end->lost_error = error;
	strncpy(end->lost_why, why, sizeof(end->lost_why) - 1);
}

static const struct channel_ops ops = {.on_message = on_message, .on_lost = on_lost};

static void on_watchdog(struct ev_loop *loop, ev_timer *watcher, int events)
{
	CONTAINER_OF(watcher, struct world, watchdog)->late = true;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	int fds[2];

	if (!w || !(w->loop = ev_loop_new(EVFLAG_AUTO)))
		return -1;
	ev_timer_init(&w->watchdog, on_watchdog, DEADLINE_S, 0);
	ev_timer_start(w->loop, &w->watchdog);
	w->supervisor.taken = w->worker.taken = -1;
	w->supervisor.channel.fd = w->worker.channel.fd = -1;
	w->open_before = open_fd_count();

	if (channel_pair(fds) < 0)
		return -1;
	w->theirs = fds[1];
	*state = w;
	return channel_open(&w->supervisor.channel, w->loop, fds[0], IPC_SUPERVISOR, &ops,
			    &w->supervisor);
}

static int teardown(void **state)
{
	struct world *w = *state;

	channel_close(&w->supervisor.channel);
	channel_close(&w->worker.channel);
	close_fd(w->supervisor.taken);
	close_fd(w->worker.taken);
	close_fd(w->theirs);
	size_t open_after = open_fd_count();
	bool leaked = open_after != w->open_before;

	ev_loop_destroy(w->loop);
	free(w);
	if (leaked)
		print_error("descriptors are left open\n");
	return leaked ? -1 : 0;
}

static void open_worker(struct world *w)
{
	assert_int_equal(channel_open(&w->worker.channel, w->loop, take_fd(&w->theirs), IPC_WORKER,
				      &ops, &w->worker),
			 0);
}

#define RUN_UNTIL(w, condition)                        \
	do {                                           \
		while (!(condition) && !(w)->late)     \
			ev_run((w)->loop, EVRUN_ONCE); \
		assert_false((w)->late);               \
	} while (0)

/* Runs what is ready, and all that follows from it: on local sockets nothing is on its way. */
static void run_ready(struct world *w)
{
	for (int i = 0; i < 20; i++)
		ev_run(w->loop, EVRUN_NOWAIT);
}

static void assert_lost_once(struct world *w, const struct end *end, int error)
{
	RUN_UNTIL(w, end->lost_count > 0);
	run_ready(w);
	assert_int_equal(end->lost_count, 1);
	assert_int_equal(end->lost_error, error);
	assert_true(strlen(end->lost_why) > 10);
}

static void assert_numbers(const struct end *end, size_t count)
{
	assert_int_equal(end->count, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(end->numbers[i], i);
}

static int send_count(struct world *w, size_t number)
{
	struct ipc_count body = {.request = (uint32_t)number};

	return channel_send(&w->supervisor.channel, IPC_COUNT, &body, NULL, 0, NULL);
}

static int send_serve(struct world *w, size_t number, int fd)
{
	struct ipc_serve body = {.listener = (uint32_t)number};

	return channel_send(&w->supervisor.channel, IPC_SERVE, &body, NULL, 0, &fd);
}

static int send_counted(struct end *worker, size_t number, size_t rows)
{
	static const struct ipc_counted_row table[COUNTED_ROWS];
	struct ipc_counted body = {.request = (uint32_t)number};

	return channel_send(&worker->channel, IPC_COUNTED, &body, table, rows, NULL);
}

/* Sends numbered messages until one has to wait. Returns how many. */
static size_t fill(struct world *w)
{
	size_t number = 0;

	while (w->supervisor.channel.queued_messages == 0)
		assert_int_equal(send_count(w, number++), 0);
	return number;
}

/* Sends bytes past all checks, with n_fds descriptors. Returns fdpass_send()'s result. */
static ssize_t send_raw(struct world *w, const void *data, size_t size, size_t n_fds)
{
	struct iovec part = {(void *)data, size};
	int fds[FDPASS_MAX];

	for (size_t i = 0; i < n_fds; i++)
		fds[i] = STDIN_FILENO;
	return fdpass_send(w->theirs, &part, 1, fds, n_fds);
}

static bool send_hello(struct world *w, size_t number, size_t n_fds)
{
	const uint32_t packet[] = {IPC_HELLO, (uint32_t)number};

	return send_raw(w, packet, sizeof(packet), n_fds) == sizeof(packet);
}

/* --- order, queue and bounds -------------------------------------------------------------------
 */

static void pair_is_close_on_exec_and_does_not_block(void **state)
{
	int fds[2];

	assert_int_equal(channel_pair(fds), 0);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		assert_int_equal(fcntl(fds[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		assert_int_equal(fcntl(fds[i], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
		close_fd(fds[i]);
	}
}

static void what_is_no_seqpacket_socket_stays_the_callers(void **state)
{
	struct world *w = *state;
	struct channel channel = {0};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(channel_open(&channel, w->loop, fds[0], IPC_WORKER, &ops, w), -EPROTOTYPE);
	channel_close(&channel);
	assert_int_not_equal(fcntl(fds[0], F_GETFD), -1);
	close_fd(fds[0]);
	assert_int_equal(channel_open(&channel, w->loop, fds[0], IPC_WORKER, &ops, w), -EBADF);
	close_fd(fds[1]);
}

/* IP-1 */
static void order_is_kept_over_a_full_kernel_buffer(void **state)
{
	struct world *w = *state;
	size_t sent = fill(w);

	while (sent < 2000)
		assert_int_equal(send_count(w, sent++), 0);
	open_worker(w);
	RUN_UNTIL(w, w->worker.count == sent);
	run_ready(w);
	assert_numbers(&w->worker, sent);
	assert_int_equal(w->worker.lost_count + w->supervisor.lost_count, 0);
}

/* IP-1 */
static void message_does_not_overtake_those_that_wait(void **state)
{
	struct world *w = *state;
	size_t sent = fill(w), came = 0, n_fds;
	uint32_t packet[2];

	/* The kernel gets room again, and the loop does not know yet. */
	while (fdpass_recv(w->theirs, packet, sizeof(packet), NULL, 0, &n_fds) > 0)
		assert_int_equal(packet[1], came++);
	assert_int_equal(send_count(w, sent++), 0);
	run_ready(w);
	while (fdpass_recv(w->theirs, packet, sizeof(packet), NULL, 0, &n_fds) > 0)
		assert_int_equal(packet[1], came++);
	assert_int_equal(came, sent);
}

static void answer_count(struct end *worker, struct ipc_message *message)
{
	const struct ipc_count *body = message->body;

	worker->lost_count += send_counted(worker, body->request, 10) < 0;
}

static void both_directions_may_be_full_at_once(void **state)
{
	struct world *w = *state;

	w->worker.react = answer_count;
	for (size_t i = 0; i < 4000; i++)
		assert_int_equal(send_count(w, i), 0);
	open_worker(w);
	RUN_UNTIL(w, w->supervisor.count == 4000);
	assert_numbers(&w->supervisor, 4000);
	assert_int_equal(w->worker.lost_count, 0);
}

static void drained_queue_leaves_the_loop_alone(void **state)
{
	struct world *w = *state;
	size_t sent = fill(w);

	open_worker(w);
	RUN_UNTIL(w, w->worker.count == sent && w->supervisor.channel.queued_messages == 0);
	run_ready(w);
	assert_int_equal(ev_pending_count(w->loop), 0);

	/* With nothing ready, the loop sleeps until the deadline that is brought forward to now. */
	unsigned int iterations = ev_iteration(w->loop);
	ev_timer_stop(w->loop, &w->watchdog);
	ev_timer_set(&w->watchdog, 0.02, 0);
	ev_timer_start(w->loop, &w->watchdog);
	while (!w->late)
		ev_run(w->loop, EVRUN_ONCE);
	assert_in_range(ev_iteration(w->loop) - iterations, 1, 5);
}

static void queue_of_messages_is_bounded_and_heals(void **state)
{
	struct world *w = *state;
	size_t sent = 0;
	int error;

	while ((error = send_count(w, sent)) == 0)
		sent++;
	assert_int_equal(error, -ENOBUFS);
	assert_int_equal(w->supervisor.channel.queued_messages, CHANNEL_QUEUE_MESSAGES);
	assert_int_equal(send_serve(w, sent, STDIN_FILENO), -ENOBUFS);

	open_worker(w);
	RUN_UNTIL(w, w->worker.count == sent);
	assert_int_equal(send_count(w, sent), 0);
	RUN_UNTIL(w, w->worker.count == sent + 1);
	assert_numbers(&w->worker, sent + 1);
}

static void queue_of_bytes_is_bounded_and_heals(void **state)
{
	struct world *w = *state;
	struct channel *channel = &w->worker.channel;
	const size_t size = 12 + COUNTED_ROWS * sizeof(struct ipc_counted_row);
	size_t sent = 0;
	int error;

	open_worker(w);
	while ((error = send_counted(&w->worker, sent, COUNTED_ROWS)) == 0)
		sent++;
	assert_int_equal(error, -ENOBUFS);
	assert_int_equal(channel->queued_bytes, channel->queued_messages * size);
	assert_in_range(channel->queued_bytes, CHANNEL_QUEUE_BYTES - size + 1, CHANNEL_QUEUE_BYTES);

	RUN_UNTIL(w, w->supervisor.count == sent);
	assert_numbers(&w->supervisor, sent);
	assert_int_equal(channel->queued_bytes, 0);
	assert_int_equal(send_counted(&w->worker, sent, COUNTED_ROWS), 0);
	RUN_UNTIL(w, w->supervisor.count == sent + 1);
}

static void longest_message_arrives_and_a_longer_one_is_not_sent(void **state)
{
	static const char text[IPC_PACKET_MAX];
	struct world *w = *state;
	struct ipc_serve body = {.listener = 0};
	const size_t most = IPC_PACKET_MAX - sizeof(uint32_t) - sizeof(body);
	const int fd = STDIN_FILENO;

	open_worker(w);
	assert_int_equal(
		channel_send(&w->supervisor.channel, IPC_SERVE, &body, text, most + 1, &fd),
		-EMSGSIZE);
	assert_int_equal(channel_send(&w->supervisor.channel, IPC_SERVE, &body, text, most, &fd),
			 0);
	RUN_UNTIL(w, w->worker.count == 1);
	assert_int_equal(w->worker.last_size, most);
}

static void message_that_cannot_be_queued_leaves_nothing_behind(void **state)
{
	struct world *w = *state;
	size_t sent = fill(w), before = open_fd_count();

	malloc_fails = true;
	int without_memory = send_count(w, 9999);
	malloc_fails = false;
	assert_int_equal(without_memory, -ENOMEM);
	assert_int_equal(send_serve(w, 9999, -1), -EBADF);
	assert_int_equal(open_fd_count(), before);
	assert_int_equal(w->supervisor.channel.queued_messages, 1);

	open_worker(w);
	RUN_UNTIL(w, w->worker.count == sent);
	run_ready(w);
	assert_numbers(&w->worker, sent);
}

static void count_wakeup(struct ev_loop *loop, ev_io *watcher, int events)
{
	(*(size_t *)watcher->data)++;
}

static void wakeup_handles_so_many_messages_that_others_get_their_turn(void **state)
{
	struct world *w = *state;
	AUTO_CLOSE int event = eventfd(1, EFD_CLOEXEC);
	size_t sent = 0, turns = 0;
	ev_io other;

	ev_io_init(&other, count_wakeup, event, EV_READ);
	other.data = &turns;
	ev_io_start(w->loop, &other);
	while (send_hello(w, sent, 0))
		sent++;
	assert_true(sent > 2 * PER_WAKEUP);

	for (size_t i = 1; w->supervisor.count < sent && !w->late; i++) {
		ev_run(w->loop, EVRUN_ONCE);
		assert_int_equal(w->supervisor.count,
				 sent < i * PER_WAKEUP ? sent : i * PER_WAKEUP);
		assert_int_equal(turns, i);
	}
	assert_numbers(&w->supervisor, sent);
	ev_io_stop(w->loop, &other);
}

/* --- descriptors -------------------------------------------------------------------------------
 */

static void take_descriptor(struct end *end, struct ipc_message *message)
{
	if (message->n_fds == 1)
		end->taken = take_fd(&message->fds[0]);
}

/* IP-5 */
static void descriptor_in_the_queue_survives_the_callers_close(void **state)
{
	struct world *w = *state;
	AUTO_CLOSE int reader = -1;
	size_t sent = fill(w);
	int ends[2];
	char byte = 0;

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	reader = ends[0];
	assert_int_equal(send_serve(w, sent, ends[1]), 0);
	close_fd(ends[1]);

	w->worker.react = take_descriptor;
	open_worker(w);
	RUN_UNTIL(w, w->worker.count == sent + 1);
	assert_int_not_equal(w->worker.taken, -1);
	assert_int_equal(write(w->worker.taken, "x", 1), 1);
	assert_int_equal(read(reader, &byte, 1), 1);
	assert_int_equal(byte, 'x');

	/* The queue's own is closed once it was sent, or there would be no end. */
	close_fd(take_fd(&w->worker.taken));
	assert_int_equal(read(reader, &byte, 1), 0);
}

static void descriptor_that_nobody_took_is_closed(void **state)
{
	struct world *w = *state;

	open_worker(w);
	size_t before = open_fd_count();
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(send_serve(w, i, STDIN_FILENO), 0);
	RUN_UNTIL(w, w->worker.count == 3);
	assert_int_equal(open_fd_count(), before);
}

/* IP-5 */
static void closing_closes_the_descriptors_in_the_queue(void **state)
{
	struct world *w = *state;
	size_t sent = fill(w), before = open_fd_count();

	for (size_t i = 0; i < 100; i++)
		assert_int_equal(send_serve(w, sent + i, STDIN_FILENO), 0);
	assert_int_equal(open_fd_count(), before + 100);
	channel_close(&w->supervisor.channel);
	assert_int_equal(open_fd_count(), before - 1);
	run_ready(w);
	assert_int_equal(w->supervisor.lost_count, 0);
}

/* The two sides change places: the worker's is a channel, the bare socket the supervisor's. */
static void face_worker(struct world *w)
{
	int fds[2];

	channel_close(&w->supervisor.channel);
	channel_close(&w->worker.channel);
	close_fd(take_fd(&w->theirs));
	assert_int_equal(channel_pair(fds), 0);
	w->theirs = fds[0];
	open_worker(w);
	w->theirs = fds[1];
}

static const uint32_t bare_serve[] = {IPC_SERVE, 0, 0, 0};

static void second_descriptor_is_refused_and_closed(void **state)
{
	struct world *w = *state;
	const size_t counts[] = {2, 3, FDPASS_MAX};

	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		face_worker(w);
		w->worker.lost_count = 0;
		size_t before = open_fd_count();

		assert_int_equal(send_raw(w, bare_serve, sizeof(bare_serve), counts[i]),
				 sizeof(bare_serve));
		assert_lost_once(w, &w->worker, -EOVERFLOW);
		assert_int_equal(w->worker.count, 0);
		assert_int_equal(open_fd_count(), before - 1);
	}
}

static void descriptor_where_none_belongs_is_refused_and_closed(void **state)
{
	struct world *w = *state;
	size_t before = open_fd_count();

	assert_true(send_hello(w, 0, 1));
	assert_lost_once(w, &w->supervisor, -EPROTO);
	assert_int_equal(w->supervisor.count, 0);
	assert_int_equal(open_fd_count(), before - 1);
}

static void missing_descriptor_is_refused(void **state)
{
	struct world *w = *state;

	face_worker(w);
	assert_int_equal(send_raw(w, bare_serve, sizeof(bare_serve), 0), sizeof(bare_serve));
	assert_lost_once(w, &w->worker, -EPROTO);
	assert_int_equal(w->worker.count, 0);
}

/* What the child sees whose limit of descriptors is reached when one comes. */
static int lose_descriptor(void *arg)
{
	struct world *w = arg;

	run_ready(w);
	if (w->worker.count != 0)
		return 1;
	return w->worker.lost_count == 1 && w->worker.lost_error == -EOVERFLOW ? 0 : 2;
}

/* IP-4 */
static void descriptor_lost_at_the_limit_ends_the_channel(void **state)
{
	struct world *w = *state;

	open_worker(w);
	run_ready(w);
	assert_int_equal(send_serve(w, 0, STDIN_FILENO), 0);
	assert_int_equal(run_with_fd_limit(0, lose_descriptor, w), 0);
}

/* --- ends --------------------------------------------------------------------------------------
 */

static void lost_peer_is_told_once(void **state)
{
	struct world *w = *state;

	assert_true(send_hello(w, 0, 0));
	close_fd(take_fd(&w->theirs));
	assert_lost_once(w, &w->supervisor, 0);
	assert_int_equal(w->supervisor.count, 1);
	assert_int_equal(send_count(w, 1), -EPIPE);
	run_ready(w);
	assert_int_equal(w->supervisor.lost_count, 1);
}

static void lost_peer_is_told_once_with_messages_waiting_for_it(void **state)
{
	struct world *w = *state;

	fill(w);
	close_fd(take_fd(&w->theirs));
	assert_lost_once(w, &w->supervisor, 0);
	assert_int_equal(send_count(w, 1), -EPIPE);
}

/* A peer that left messages unread resets the connection, yet what it said before is there. */
static void last_words_of_a_peer_that_did_not_listen_are_heard(void **state)
{
	struct world *w = *state;

	assert_int_equal(send_count(w, 0), 0);
	for (size_t i = 0; i < 3; i++)
		assert_true(send_hello(w, i, 0));
	close_fd(take_fd(&w->theirs));
	assert_lost_once(w, &w->supervisor, 0);
	assert_numbers(&w->supervisor, 3);
}

static void last_words_are_heard_with_messages_waiting(void **state)
{
	struct world *w = *state;

	fill(w);
	for (size_t i = 0; i < 3; i++)
		assert_true(send_hello(w, i, 0));
	close_fd(take_fd(&w->theirs));
	assert_lost_once(w, &w->supervisor, 0);
	assert_numbers(&w->supervisor, 3);
}

static void last_words_are_heard_when_a_send_notices_first(void **state)
{
	struct world *w = *state;

	assert_int_equal(send_count(w, 0), 0);
	for (size_t i = 0; i < 3; i++)
		assert_true(send_hello(w, i, 0));
	close_fd(take_fd(&w->theirs));
	assert_int_equal(send_count(w, 1), -EPIPE);
	assert_int_equal(send_count(w, 2), -EPIPE);
	assert_int_equal(w->supervisor.lost_count, 0); /* not inside the call */
	assert_lost_once(w, &w->supervisor, 0);
	assert_numbers(&w->supervisor, 3);
}

/* A peer may shut its reading side and stay: then nothing can be sent to it any more. */
static void peer_that_takes_no_more_is_lost_at_the_next_send(void **state)
{
	struct world *w = *state;

	assert_int_equal(shutdown(w->theirs, SHUT_RD), 0);
	run_ready(w);
	assert_int_equal(send_count(w, 0), -EPIPE);
	assert_lost_once(w, &w->supervisor, 0);
}

static void bad_message_is_told_once_and_nothing_after_it_is_heard(void **state)
{
	static const uint32_t bad[][4] = {
		{0}, {IPC_START}, {IPC_COUNT, 1}, {IPC_TYPE_END}, {IPC_HELLO, 1, 2}, {UINT32_MAX},
	};
	static const size_t sizes[] = {4, 4, 8, 4, 12, 4};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct world *w;

		assert_int_equal(setup((void **)&w), 0);
		assert_true(send_hello(w, 0, 0));
		assert_int_equal(send_raw(w, bad[i], sizes[i], 0), sizes[i]);
		assert_true(send_hello(w, 1, 0));
		assert_lost_once(w, &w->supervisor, -EPROTO);
		assert_numbers(&w->supervisor, 1);
		assert_int_equal(send_count(w, 1), -EPIPE);
		assert_int_equal(teardown((void **)&w), 0);
	}
}

static void every_size_below_a_whole_message_is_refused(void **state)
{
	static const uint32_t hello[] = {IPC_HELLO, IPC_VERSION};

	for (size_t size = 1; size < sizeof(hello); size++) {
		struct world *w;

		assert_int_equal(setup((void **)&w), 0);
		assert_int_equal(send_raw(w, hello, size, 0), size);
		assert_lost_once(w, &w->supervisor, -EPROTO);
		assert_int_equal(teardown((void **)&w), 0);
	}
}

static void message_that_is_too_long_is_refused(void **state)
{
	static const uint32_t packet[IPC_PACKET_MAX / sizeof(uint32_t) + 1] = {IPC_COUNTED};
	struct world *w = *state;
	size_t before = open_fd_count();

	assert_int_equal(send_raw(w, packet, IPC_PACKET_MAX + 1, 1), IPC_PACKET_MAX + 1);
	assert_lost_once(w, &w->supervisor, -EMSGSIZE);
	assert_int_equal(w->supervisor.count, 0);
	assert_int_equal(open_fd_count(), before - 1);
}

static void empty_packet_ends_the_channel(void **state)
{
	struct world *w = *state;

	assert_int_equal(send_raw(w, "", 0, 0), 0);
	assert_true(send_hello(w, 0, 0));
	assert_lost_once(w, &w->supervisor, 0);
	assert_int_equal(w->supervisor.count, 0);
}

static void descriptor_of_an_empty_packet_is_closed(void **state)
{
	struct world *w = *state;
	size_t before = open_fd_count();

	assert_int_equal(send_raw(w, "", 0, 1), 0);
	assert_lost_once(w, &w->supervisor, -EPROTO);
	assert_int_equal(open_fd_count(), before - 1);
}

static void close_channel(struct end *end, struct ipc_message *message)
{
	channel_close(&end->channel);
}

static void callback_may_close_and_hears_nothing_more(void **state)
{
	struct world *w = *state;

	w->supervisor.react = close_channel;
	for (size_t i = 0; i < 3; i++)
		assert_true(send_hello(w, i, 0));
	RUN_UNTIL(w, w->supervisor.count > 0);
	run_ready(w);
	assert_int_equal(w->supervisor.count, 1);
	assert_int_equal(w->supervisor.lost_count, 0);
	assert_int_equal(send_hello(w, 3, 0), false);
}

static void callback_may_close_while_a_descriptor_is_before_it(void **state)
{
	struct world *w = *state;
	size_t before = open_fd_count();

	w->worker.react = close_channel;
	open_worker(w);
	assert_int_equal(send_serve(w, 0, STDIN_FILENO), 0);
	assert_int_equal(send_serve(w, 1, STDIN_FILENO), 0);
	RUN_UNTIL(w, w->worker.count > 0);
	assert_int_equal(w->worker.count, 1);
	assert_lost_once(w, &w->supervisor, 0);
	assert_int_equal(open_fd_count(), before - 2);
}

static void closed_channel_may_be_closed_again_and_sends_nothing(void **state)
{
	struct world *w = *state;
	AUTO_CLOSE int fd = -1;

	channel_close(&w->supervisor.channel);
	fd = eventfd(0, EFD_CLOEXEC); /* may have the number of the channel's socket */
	channel_close(&w->supervisor.channel);
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(send_count(w, 0), -EPIPE);
	assert_int_equal(send_serve(w, 0, fd), -EPIPE);
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	run_ready(w);
	assert_int_equal(w->supervisor.lost_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		TEST(pair_is_close_on_exec_and_does_not_block),
		TEST(what_is_no_seqpacket_socket_stays_the_callers),
		TEST(order_is_kept_over_a_full_kernel_buffer),
		TEST(message_does_not_overtake_those_that_wait),
		TEST(both_directions_may_be_full_at_once),
		TEST(drained_queue_leaves_the_loop_alone),
		TEST(queue_of_messages_is_bounded_and_heals),
		TEST(queue_of_bytes_is_bounded_and_heals),
		TEST(longest_message_arrives_and_a_longer_one_is_not_sent),
		TEST(message_that_cannot_be_queued_leaves_nothing_behind),
		TEST(wakeup_handles_so_many_messages_that_others_get_their_turn),
		TEST(descriptor_in_the_queue_survives_the_callers_close),
		TEST(descriptor_that_nobody_took_is_closed),
		TEST(closing_closes_the_descriptors_in_the_queue),
		TEST(second_descriptor_is_refused_and_closed),
		TEST(descriptor_where_none_belongs_is_refused_and_closed),
		TEST(missing_descriptor_is_refused),
		TEST(descriptor_lost_at_the_limit_ends_the_channel),
		TEST(lost_peer_is_told_once),
		TEST(lost_peer_is_told_once_with_messages_waiting_for_it),
		TEST(last_words_of_a_peer_that_did_not_listen_are_heard),
		TEST(last_words_are_heard_with_messages_waiting),
		TEST(last_words_are_heard_when_a_send_notices_first),
		TEST(peer_that_takes_no_more_is_lost_at_the_next_send),
		TEST(bad_message_is_told_once_and_nothing_after_it_is_heard),
		TEST(every_size_below_a_whole_message_is_refused),
		TEST(message_that_is_too_long_is_refused),
		TEST(empty_packet_ends_the_channel),
		TEST(descriptor_of_an_empty_packet_is_closed),
		TEST(callback_may_close_and_hears_nothing_more),
		TEST(callback_may_close_while_a_descriptor_is_before_it),
		TEST(closed_channel_may_be_closed_again_and_sends_nothing),
#undef TEST
	};

	alarm(120);
	return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}

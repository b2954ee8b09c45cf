/* A channel over real sockets on a real loop: what arrives, what waits, who owns the descriptors.
 *
 * wrap: malloc sendmsg */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/fdpass.h"
#include "common/macros.h"
#include "tests/helpers/channel_world.h"
#include "tests/helpers/fds.h"

#define PER_WAKEUP   ((size_t)64) /* messages */
#define COUNTED_ROWS 8000

static bool malloc_fails;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	return malloc_fails ? NULL : __real_malloc(size);
}

static int send_error; /* 0: none */
static size_t sends_failed;

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	if (send_error == 0)
		return __real_sendmsg(fd, message, flags);
	sends_failed++;
	errno = send_error;
	return -1;
}

static int send_counted(struct end *worker, size_t number, size_t rows)
{
	static const struct ipc_counted_row table[COUNTED_ROWS];
	struct ipc_counted body = {.request = (uint32_t)number};

	return channel_send(&worker->channel, IPC_COUNTED, &body, table, rows, NULL);
}

/* IP-13 */
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
	assert_int_equal(channel_open(&channel, w->loop, fds[0], IPC_WORKER, &world_ops, w),
			 -EPROTOTYPE);
	channel_close(&channel);
	assert_int_not_equal(fcntl(fds[0], F_GETFD), -1);
	close_fd(fds[0]);
	assert_int_equal(channel_open(&channel, w->loop, fds[0], IPC_WORKER, &world_ops, w),
			 -EBADF);
	close_fd(fds[1]);
}

/* IP-1 */
static void order_is_kept_over_a_full_kernel_buffer(void **state)
{
	struct world *w = *state;
	size_t sent = world_fill(w);

	while (sent < 2000)
		assert_int_equal(world_send_count(w, sent++), 0);
	world_open_worker(w);
	WORLD_RUN_UNTIL(w, w->worker.count == sent);
	world_run_ready(w);
	world_assert_numbers(&w->worker, sent);
	assert_int_equal(w->worker.lost_count + w->supervisor.lost_count, 0);
}

/* IP-1 */
static void message_does_not_overtake_those_that_wait(void **state)
{
	struct world *w = *state;
	size_t sent = world_fill(w), came = 0, n_fds;
	uint32_t packet[2];

	/* The kernel gets room again, and the loop does not know yet. */
	while (fdpass_recv(w->theirs, packet, sizeof(packet), NULL, 0, &n_fds) > 0)
		assert_int_equal(packet[1], came++);
	assert_int_equal(world_send_count(w, sent++), 0);
	world_run_ready(w);
	while (fdpass_recv(w->theirs, packet, sizeof(packet), NULL, 0, &n_fds) > 0)
		assert_int_equal(packet[1], came++);
	assert_int_equal(came, sent);
}

static void answer_count(struct end *worker, struct ipc_message *message)
{
	const struct ipc_count *body = message->body;

	worker->lost_count += send_counted(worker, body->request, 10) < 0;
}

/* IP-3: two that only send wait for ever, so each reads while what it sends has to wait. */
static void both_directions_may_be_full_at_once(void **state)
{
	struct world *w = *state;

	w->worker.react = answer_count;
	for (size_t i = 0; i < 4000; i++)
		assert_int_equal(world_send_count(w, i), 0);
	world_open_worker(w);
	WORLD_RUN_UNTIL(w, w->supervisor.count == 4000);
	world_assert_numbers(&w->supervisor, 4000);
	assert_int_equal(w->worker.lost_count, 0);
}

static void drained_queue_leaves_the_loop_alone(void **state)
{
	struct world *w = *state;
	size_t sent = world_fill(w);

	world_open_worker(w);
	WORLD_RUN_UNTIL(w, w->worker.count == sent && w->supervisor.channel.queued_messages == 0);
	world_run_ready(w);
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

static void count_drained(struct channel *channel, void *ctx)
{
	(*(size_t *)ctx)++;
}

static void it_says_when_what_waited_has_left(void **state)
{
	struct world *w = *state;
	size_t drained = 0;

	channel_when_drained(&w->supervisor.channel, count_drained, &drained);
	assert_true(channel_is_drained(&w->supervisor.channel));
	size_t sent = world_fill(w);
	assert_false(channel_is_drained(&w->supervisor.channel));
	world_run_ready(w);
	assert_int_equal(drained, 0);

	world_open_worker(w);
	WORLD_RUN_UNTIL(w, drained > 0);
	assert_true(channel_is_drained(&w->supervisor.channel));
	WORLD_RUN_UNTIL(w, w->worker.count == sent);
	world_run_ready(w);
	assert_int_equal(drained, 1);

	world_fill(w);
	channel_close(&w->supervisor.channel);
	world_run_ready(w);
	assert_int_equal(drained, 1);
}

/* Whether the loop would run on when nothing but the channels is there. */
static bool holds_the_loop(struct world *w)
{
	bool is_held;

	world_run_ready(w);
	ev_unref(w->loop); /* the watchdog */
	is_held = ev_run(w->loop, EVRUN_NOWAIT);
	ev_ref(w->loop);
	return is_held;
}

/* IP-14 */
static void an_unreferenced_channel_does_not_hold_the_loop(void **state)
{
	struct world *w = *state;

	assert_true(holds_the_loop(w));
	channel_unref(&w->supervisor.channel);
	channel_unref(&w->supervisor.channel);
	assert_false(holds_the_loop(w));
	channel_ref(&w->supervisor.channel);
	channel_ref(&w->supervisor.channel);
	assert_true(holds_the_loop(w));
	channel_unref(&w->supervisor.channel);
	world_fill(w);
	assert_true(holds_the_loop(w));

	/* The loop is counted as before. */
	channel_close(&w->supervisor.channel);
	assert_false(holds_the_loop(w));
	channel_unref(&w->supervisor.channel);
	channel_ref(&w->supervisor.channel);
	assert_false(holds_the_loop(w));
}

static void queue_of_messages_is_bounded_and_heals(void **state)
{
	struct world *w = *state;
	size_t sent = 0;
	int error;

	while ((error = world_send_count(w, sent)) == 0)
		sent++;
	assert_int_equal(error, -ENOBUFS);
	assert_int_equal(w->supervisor.channel.queued_messages, CHANNEL_QUEUE_MESSAGES);
	assert_int_equal(world_send_serve(w, sent, STDIN_FILENO), -ENOBUFS);

	world_open_worker(w);
	WORLD_RUN_UNTIL(w, w->worker.count == sent);
	assert_int_equal(world_send_count(w, sent), 0);
	WORLD_RUN_UNTIL(w, w->worker.count == sent + 1);
	world_assert_numbers(&w->worker, sent + 1);
}

static void queue_of_bytes_is_bounded_and_heals(void **state)
{
	struct world *w = *state;
	struct channel *channel = &w->worker.channel;
	const size_t size = 12 + COUNTED_ROWS * sizeof(struct ipc_counted_row);
	size_t sent = 0;
	int error;

	world_open_worker(w);
	while ((error = send_counted(&w->worker, sent, COUNTED_ROWS)) == 0)
		sent++;
	assert_int_equal(error, -ENOBUFS);
	assert_int_equal(channel->queued_bytes, channel->queued_messages * size);
	assert_in_range(channel->queued_bytes, CHANNEL_QUEUE_BYTES - size + 1, CHANNEL_QUEUE_BYTES);

	WORLD_RUN_UNTIL(w, w->supervisor.count == sent);
	world_assert_numbers(&w->supervisor, sent);
	assert_int_equal(channel->queued_bytes, 0);
	assert_int_equal(send_counted(&w->worker, sent, COUNTED_ROWS), 0);
	WORLD_RUN_UNTIL(w, w->supervisor.count == sent + 1);
}

static void longest_message_arrives_and_a_longer_one_is_not_sent(void **state)
{
	static const char text[IPC_PACKET_MAX];
	struct world *w = *state;
	struct ipc_serve body = {.listener = 0};
	const size_t most = IPC_PACKET_MAX - sizeof(uint32_t) - sizeof(body);
	const int fd = STDIN_FILENO;

	world_open_worker(w);
	assert_int_equal(
		channel_send(&w->supervisor.channel, IPC_SERVE, &body, text, most + 1, &fd),
		-EMSGSIZE);
	assert_int_equal(channel_send(&w->supervisor.channel, IPC_SERVE, &body, text, most, &fd),
			 0);
	WORLD_RUN_UNTIL(w, w->worker.count == 1);
	assert_int_equal(w->worker.last_size, most);
}

static void message_that_cannot_be_queued_leaves_nothing_behind(void **state)
{
	struct world *w = *state;
	size_t sent = world_fill(w), before = open_fd_count();

	malloc_fails = true;
	int without_memory = world_send_count(w, 9999);
	malloc_fails = false;
	assert_int_equal(without_memory, -ENOMEM);
	assert_int_equal(world_send_serve(w, 9999, -1), -EBADF);
	assert_int_equal(open_fd_count(), before);
	assert_int_equal(w->supervisor.channel.queued_messages, 1);

	world_open_worker(w);
	WORLD_RUN_UNTIL(w, w->worker.count == sent);
	world_run_ready(w);
	world_assert_numbers(&w->worker, sent);
}

/* --- shortages ------------------------------------------------------------------------------- */

static void await_failed_send(struct world *w, int error)
{
	send_error = error;
	sends_failed = 0;
	WORLD_RUN_UNTIL(w, sends_failed > 0);
	send_error = 0;
}

/* IP-3: nothing of it is the other end's fault. */
static void what_waits_survives_a_shortage(void **state)
{
	struct world *w = *state;
	size_t sent = world_fill(w);

	assert_int_equal(world_send_serve(w, sent++, STDIN_FILENO), 0);
	world_open_worker(w);
	await_failed_send(w, ENOBUFS);
	await_failed_send(w, ENOMEM);
	await_failed_send(w, ETOOMANYREFS);
	/* Who is writable all the time is asked again after a while. */
	assert_false(ev_is_active(&w->supervisor.channel.writer));
	assert_int_equal(world_send_count(w, sent++), 0);
	assert_false(ev_is_active(&w->supervisor.channel.writer));

	WORLD_RUN_UNTIL(w, w->worker.count == sent);
	world_assert_numbers(&w->worker, sent);
	assert_int_equal(w->supervisor.lost_count + w->worker.lost_count, 0);
}

static void what_cannot_be_sent_for_a_shortage_waits(void **state)
{
	static const int errors[] = {ENOBUFS, ENOMEM, ETOOMANYREFS};
	struct world *w = *state;

	world_open_worker(w);
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		send_error = errors[i];
		int error = world_send_serve(w, 2 * i, STDIN_FILENO);
		send_error = 0;
		assert_int_equal(error, 0);
		assert_int_equal(world_send_count(w, 2 * i + 1), 0);
		assert_int_equal(w->supervisor.channel.queued_messages, 2);
		WORLD_RUN_UNTIL(w, w->worker.count == 2 * i + 2);
	}
	world_assert_numbers(&w->worker, 2 * ARRAY_LEN(errors));
}

static void who_could_not_send_is_told_when_to_try_again(void **state)
{
	struct world *w = *state;
	size_t drained = 0;

	channel_when_drained(&w->supervisor.channel, count_drained, &drained);
	send_error = ENOBUFS;
	malloc_fails = true;
	int error = world_send_count(w, 0);
	malloc_fails = false;
	send_error = 0;
	assert_int_equal(error, -ENOMEM);
	assert_true(channel_is_drained(&w->supervisor.channel));
	assert_int_equal(drained, 0);
	WORLD_RUN_UNTIL(w, drained == 1);
	assert_true(channel_is_drained(&w->supervisor.channel));
}

static void a_channel_may_be_closed_while_something_is_short(void **state)
{
	struct world *w = *state;
	size_t drained = 0;

	channel_when_drained(&w->supervisor.channel, count_drained, &drained);
	world_fill(w);
	world_open_worker(w);
	await_failed_send(w, ENOBUFS);
	channel_close(&w->supervisor.channel);
	assert_false(holds_the_loop(w));
	assert_int_equal(drained, 0);
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
	while (world_send_hello(w, sent, 0))
		sent++;
	assert_true(sent > 2 * PER_WAKEUP);

	for (size_t i = 1; w->supervisor.count < sent && !w->late; i++) {
		ev_run(w->loop, EVRUN_ONCE);
		assert_int_equal(w->supervisor.count,
				 sent < i * PER_WAKEUP ? sent : i * PER_WAKEUP);
		assert_int_equal(turns, i);
	}
	world_assert_numbers(&w->supervisor, sent);
	ev_io_stop(w->loop, &other);
}

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
	size_t sent = world_fill(w);
	int ends[2];
	char byte = 0;

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	reader = ends[0];
	assert_int_equal(world_send_serve(w, sent, ends[1]), 0);
	close_fd(ends[1]);

	w->worker.react = take_descriptor;
	world_open_worker(w);
	WORLD_RUN_UNTIL(w, w->worker.count == sent + 1);
	assert_int_not_equal(w->worker.taken, -1);
	assert_int_equal(write(w->worker.taken, "x", 1), 1);
	assert_int_equal(read(reader, &byte, 1), 1);
	assert_int_equal(byte, 'x');

	/* The queue's own is closed once it was sent, or there would be no end. */
	close_fd(take_fd(&w->worker.taken));
	assert_int_equal(read(reader, &byte, 1), 0);
}

/* A file with the number in it. */
static int file_of(uint32_t number)
{
	int fd = memfd_create("number", MFD_CLOEXEC);

	assert_int_equal(write(fd, &number, sizeof(number)), sizeof(number));
	return fd;
}

/* Messages of odd numbers bring the file of their number, the others nothing. */
static void expect_own_file(struct end *worker, struct ipc_message *message)
{
	uint32_t number = worker->numbers[worker->count - 1], written = 0;

	assert_int_equal(message->n_fds, number % 2);
	if (message->n_fds == 0)
		return;
	assert_int_equal(pread(message->fds[0], &written, sizeof(written), 0), sizeof(written));
	assert_int_equal(written, number);
}

/* IP-2: none comes with the plain bytes before it, in the kernel's buffer or in the queue. */
static void each_descriptor_comes_with_its_own_message(void **state)
{
	enum { MESSAGES = 1000 };
	struct world *w = *state;
	size_t queued = 0;

	for (uint32_t i = 0; i < MESSAGES; i++) {
		AUTO_CLOSE int fd = file_of(i);

		assert_int_equal(i % 2 ? world_send_serve(w, i, fd) : world_send_count(w, i), 0);
		queued = w->supervisor.channel.queued_messages;
	}
	assert_in_range(queued, 1, MESSAGES - 1);
	w->worker.react = expect_own_file;
	world_open_worker(w);
	WORLD_RUN_UNTIL(w, w->worker.count == MESSAGES);
	world_assert_numbers(&w->worker, MESSAGES);
}

static void descriptor_that_nobody_took_is_closed(void **state)
{
	struct world *w = *state;

	world_open_worker(w);
	size_t before = open_fd_count();
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(world_send_serve(w, i, STDIN_FILENO), 0);
	WORLD_RUN_UNTIL(w, w->worker.count == 3);
	assert_int_equal(open_fd_count(), before);
}

/* IP-5 */
static void closing_closes_the_descriptors_in_the_queue(void **state)
{
	struct world *w = *state;
	size_t sent = world_fill(w), before = open_fd_count();

	for (size_t i = 0; i < 100; i++)
		assert_int_equal(world_send_serve(w, sent + i, STDIN_FILENO), 0);
	assert_int_equal(open_fd_count(), before + 100);
	channel_close(&w->supervisor.channel);
	assert_int_equal(open_fd_count(), before - 1);
	world_run_ready(w);
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
	world_open_worker(w);
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

		assert_int_equal(world_send_raw(w, bare_serve, sizeof(bare_serve), counts[i]),
				 sizeof(bare_serve));
		world_assert_lost_once(w, &w->worker, -EPROTO);
		assert_int_equal(w->worker.count, 0);
		assert_int_equal(open_fd_count(), before - 1);
	}
}

static void descriptor_where_none_belongs_is_refused_and_closed(void **state)
{
	struct world *w = *state;
	size_t before = open_fd_count();

	assert_true(world_send_hello(w, 0, 1));
	world_assert_lost_once(w, &w->supervisor, -EPROTO);
	assert_int_equal(w->supervisor.count, 0);
	assert_int_equal(open_fd_count(), before - 1);
}

static void missing_descriptor_is_refused(void **state)
{
	struct world *w = *state;

	face_worker(w);
	assert_int_equal(world_send_raw(w, bare_serve, sizeof(bare_serve), 0), sizeof(bare_serve));
	world_assert_lost_once(w, &w->worker, -EPROTO);
	assert_int_equal(w->worker.count, 0);
}

/* What the child sees whose limit of descriptors is reached when one comes. */
static int lose_descriptor(void *arg)
{
	struct world *w = arg;

	world_run_ready(w);
	if (w->worker.count != 0)
		return 1;
	return w->worker.lost_count == 1 && w->worker.lost_error == -EOVERFLOW ? 0 : 2;
}

/* IP-4 */
static void descriptor_lost_at_the_limit_ends_the_channel(void **state)
{
	struct world *w = *state;

	world_open_worker(w);
	world_run_ready(w);
	assert_int_equal(world_send_serve(w, 0, STDIN_FILENO), 0);
	assert_int_equal(run_with_fd_limit(0, lose_descriptor, w), 0);
}

/* More than one wake-up would receive. */
static void an_end_that_is_finished_has_told_all_that_came_and_its_loss(void **state)
{
	struct world *w = *state;
	size_t sent = 0;

	while (sent < 2 * PER_WAKEUP)
		assert_true(world_send_hello(w, sent++, 0));
	channel_finish(&w->supervisor.channel);
	world_assert_numbers(&w->supervisor, sent);
	assert_int_equal(w->supervisor.lost_count, 0);

	assert_true(world_send_hello(w, sent++, 0));
	close_fd(take_fd(&w->theirs));
	channel_finish(&w->supervisor.channel);
	world_assert_numbers(&w->supervisor, sent);
	assert_int_equal(w->supervisor.lost_count, 1);
	channel_finish(&w->supervisor.channel);
	assert_int_equal(w->supervisor.lost_count, 1);
}

static void send_another(struct end *end, struct ipc_message *message)
{
	struct world *w = CONTAINER_OF(end, struct world, supervisor);

	if (end->count < WORLD_REMEMBERED)
		assert_true(world_send_hello(w, end->count, 0));
}

/* It was closed by the one and is another's still, who says more for each message that is read. */
static void an_end_that_is_finished_does_not_wait_for_who_goes_on_sending(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < 3; i++)
		assert_true(world_send_hello(w, i, 0));
	w->supervisor.react = send_another;
	channel_finish(&w->supervisor.channel);
	assert_in_range(w->supervisor.count, 3, 4);
	assert_int_equal(w->supervisor.lost_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, world_setup, world_teardown)
		TEST(pair_is_close_on_exec_and_does_not_block),
		TEST(what_is_no_seqpacket_socket_stays_the_callers),
		TEST(order_is_kept_over_a_full_kernel_buffer),
		TEST(message_does_not_overtake_those_that_wait),
		TEST(both_directions_may_be_full_at_once),
		TEST(drained_queue_leaves_the_loop_alone),
		TEST(it_says_when_what_waited_has_left),
		TEST(an_unreferenced_channel_does_not_hold_the_loop),
		TEST(queue_of_messages_is_bounded_and_heals),
		TEST(queue_of_bytes_is_bounded_and_heals),
		TEST(longest_message_arrives_and_a_longer_one_is_not_sent),
		TEST(message_that_cannot_be_queued_leaves_nothing_behind),
		TEST(what_waits_survives_a_shortage),
		TEST(what_cannot_be_sent_for_a_shortage_waits),
		TEST(who_could_not_send_is_told_when_to_try_again),
		TEST(a_channel_may_be_closed_while_something_is_short),
		TEST(wakeup_handles_so_many_messages_that_others_get_their_turn),
		TEST(descriptor_in_the_queue_survives_the_callers_close),
		TEST(each_descriptor_comes_with_its_own_message),
		TEST(descriptor_that_nobody_took_is_closed),
		TEST(closing_closes_the_descriptors_in_the_queue),
		TEST(second_descriptor_is_refused_and_closed),
		TEST(descriptor_where_none_belongs_is_refused_and_closed),
		TEST(missing_descriptor_is_refused),
		TEST(descriptor_lost_at_the_limit_ends_the_channel),
		TEST(an_end_that_is_finished_has_told_all_that_came_and_its_loss),
		TEST(an_end_that_is_finished_does_not_wait_for_who_goes_on_sending),
#undef TEST
	};

	alarm(120);
	return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}

/* What the service manager is told of the supervisor, on a real socket whose queue may be full. */
#include <errno.h>
#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "daemon/notify.h"
#include "daemon/supervisor.h"
#include "tests/helpers/wait.h"

#define WORKERS 2

struct fixture {
	char folder[64], path[96];
	int manager; /* our end of the notification socket */
	struct ev_loop *loop;
	struct supervisor supervisor;
	struct child *children[WORKERS];
	ev_io told;
	ev_timer deadline;
};

static void listen_on_path(struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(f->folder, "/tmp/usher-state-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/notify", f->folder);
	strcpy(address.sun_path, f->path);
	f->manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(f->manager, (struct sockaddr *)&address, sizeof(address)), 0);
	setenv("NOTIFY_SOCKET", f->path, 1);
	setenv("WATCHDOG_USEC", "120000000", 1);
	unsetenv("WATCHDOG_PID");
	assert_int_equal(notify_init(), 0);
}

static void on_told(struct ev_loop *loop, ev_io *io, int events)
{
	ev_break(loop, EVBREAK_ONE);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
	ev_break(loop, EVBREAK_ONE);
}

/* A supervisor whose workers are starting: none of them has a process. */
static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	listen_on_path(f);
	f->loop = ev_loop_new(EVFLAG_NOENV);
	f->supervisor.loop = f->loop;
	f->supervisor.workers = WORKERS;
	TAILQ_INIT(&f->supervisor.children);
	for (unsigned int i = 0; i < WORKERS; i++) {
		assert_int_equal(child_new(f->loop, i + 1, NULL, NULL, &f->children[i]), 0);
		TAILQ_INSERT_TAIL(&f->supervisor.children, f->children[i], link);
		child_set_state(f->children[i], CHILD_STARTING);
	}
	supervisor_state_init(&f->supervisor);
	ev_io_init(&f->told, on_told, f->manager, EV_READ);
	ev_timer_init(&f->deadline, on_deadline, 0, WAIT_MS / 1000.0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	supervisor_state_done(&f->supervisor);
	for (unsigned int i = 0; i < WORKERS; i++)
		child_free(f->children[i]);
	ev_loop_destroy(f->loop);
	close(f->manager);
	unlink(f->path);
	rmdir(f->folder);
	free(f);
	return 0;
}

static void fill(void)
{
	int error, sent = 0;

	while ((error = notify_send("X=1")) == 0)
		assert_true(++sent < 100000);
	assert_int_equal(error, -EAGAIN);
}

static void make_room(const struct fixture *f)
{
	char text[8];

	while (recv(f->manager, text, sizeof(text), 0) >= 0)
		;
}

static void become(struct fixture *f, enum child_state first, enum child_state second)
{
	child_set_state(f->children[0], first);
	child_set_state(f->children[1], second);
	supervisor_tell_state(&f->supervisor);
}

/* The next that the manager is told, now or by the loop. */
static void expect(struct fixture *f, const char *message)
{
	char text[256] = "";
	ssize_t size;

	ev_now_update(f->loop);
	ev_io_start(f->loop, &f->told);
	ev_timer_again(f->loop, &f->deadline);
	ev_run(f->loop, 0);
	ev_io_stop(f->loop, &f->told);
	ev_timer_stop(f->loop, &f->deadline);
	size = recv(f->manager, text, sizeof(text) - 1, 0);
	if (size == -1)
		fail_msg("the manager was not told \"%s\"", message);
	assert_string_equal(text, message);
}

static void expect_no_more(const struct fixture *f)
{
	char text[256];

	assert_int_equal(recv(f->manager, text, sizeof(text), 0), -1);
	assert_false(ev_is_active(&f->supervisor.retry));
}

static void a_status_is_told_when_it_is_news(void **state)
{
	struct fixture *f = *state;

	become(f, CHILD_READY, CHILD_STARTING);
	expect(f, "STATUS=1 of 2 workers are ready");
	become(f, CHILD_READY, CHILD_STOPPING);
	become(f, CHILD_READY, CHILD_STARTING);
	expect_no_more(f);
	become(f, CHILD_READY, CHILD_READY);
	expect(f, "READY=1");
	expect(f, "STATUS=2 of 2 workers are ready");
	become(f, CHILD_READY, CHILD_RESTING);
	expect(f, "STATUS=1 of 2 workers are ready, 1 are resting");
	become(f, CHILD_READY, CHILD_READY);
	expect(f, "STATUS=2 of 2 workers are ready");
	expect_no_more(f);
}

static void a_status_without_room_is_told_when_there_is_some(void **state)
{
	struct fixture *f = *state;

	fill();
	become(f, CHILD_READY, CHILD_STARTING);
	make_room(f);
	expect(f, "STATUS=1 of 2 workers are ready");
	expect_no_more(f);
}

static void of_what_had_no_room_only_the_last_is_told(void **state)
{
	struct fixture *f = *state;

	f->supervisor.state = SUPERVISOR_RUNNING;
	become(f, CHILD_READY, CHILD_READY);
	expect(f, "STATUS=2 of 2 workers are ready");
	fill();
	become(f, CHILD_READY, CHILD_STARTING);
	become(f, CHILD_STARTING, CHILD_STARTING);
	make_room(f);
	expect(f, "STATUS=0 of 2 workers are ready");
	expect_no_more(f);

	/* Nothing has changed in the end. */
	fill();
	become(f, CHILD_READY, CHILD_STARTING);
	become(f, CHILD_STARTING, CHILD_STARTING);
	make_room(f);
	expect_no_more(f);
}

static void ready_without_room_is_told_before_the_status(void **state)
{
	struct fixture *f = *state;

	fill();
	become(f, CHILD_READY, CHILD_READY);
	assert_int_equal(f->supervisor.state, SUPERVISOR_STARTING);
	make_room(f);
	expect(f, "READY=1");
	expect(f, "STATUS=2 of 2 workers are ready");
	assert_int_equal(f->supervisor.state, SUPERVISOR_RUNNING);
	expect_no_more(f);
}

static void the_stop_without_room_is_told_when_there_is_some(void **state)
{
	static const char stopping[] =
		"STOPPING=1\nSTATUS=Stopping, workers are finishing their connections";
	struct fixture *f = *state;

	fill();
	supervisor_state_stopping(&f->supervisor);
	become(f, CHILD_DRAINING, CHILD_STARTING);
	make_room(f);
	expect(f, stopping);
	become(f, CHILD_STOPPING, CHILD_STARTING);
	expect_no_more(f);
}

static void a_sign_of_life_without_room_is_given_again_soon(void **state)
{
	struct fixture *f = *state;

	supervisor_state_start(&f->supervisor);
	fill();
	ev_invoke(f->loop, &f->supervisor.watchdog, EV_TIMER);
	make_room(f);
	expect(f, "WATCHDOG=1");
	expect_no_more(f);
	assert_true(ev_is_active(&f->supervisor.watchdog));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_status_is_told_when_it_is_news),
		TEST(a_status_without_room_is_told_when_there_is_some),
		TEST(of_what_had_no_room_only_the_last_is_told),
		TEST(ready_without_room_is_told_before_the_status),
		TEST(the_stop_without_room_is_told_when_there_is_some),
		TEST(a_sign_of_life_without_room_is_given_again_soon),
	};

	watchdog(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

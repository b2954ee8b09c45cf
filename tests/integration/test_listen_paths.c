/* The paths on which servers of programs in workers listen: who is there, and who removes the file.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/listen_world.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 280

static bool is_missing(void *ctx)
{
	return access(ctx, F_OK) == -1 && errno == ENOENT;
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* LS-6: removed when the last one has closed it, disconnects, or is killed. */
static void a_path_is_removed_with_its_last_holder(void **state)
{
	struct usher *u = *state;
	char path[128];

	listen_start(u, 2, "");
	snprintf(path, sizeof(path), "%s/s", listen_room(u));
	for (size_t mate = 0; mate < 2; mate++) {
		crew_say(&crew, mate, "listen a path %s", path);
		crew_hear(&crew, mate, "a listening ");
	}
	listen_close(0, "a");
	assert_true(exists(path));
	AUTO_CLOSE int client = connect_unix(path);
	assert_int_equal(listen_greeter(client), crew.mates[1].pid);
	close(take_fd(&client));
	listen_close(1, "a");
	assert_true(poll_until(is_missing, path, WAIT_MS));

	crew_say(&crew, 0, "listen a path %s", path);
	crew_hear(&crew, 0, "a listening ");
	crew_say(&crew, 0, "drain");
	assert_true(poll_until(is_missing, path, WAIT_MS));
	crew_await(&crew, 1);

	crew_say(&crew, 1, "listen a path %s", path);
	crew_hear(&crew, 1, "a listening ");
	crew_kill(&crew, 1);
	assert_true(poll_until(is_missing, path, WAIT_MS));
	crew_await(&crew, 1);
}

/* LS-6: the worker knows where it stands; the supervisor may stand elsewhere. */
static void a_relative_path_is_the_workers(void **state)
{
	struct usher *u = *state;
	const char *folder = listen_room(u);
	char path[128];

	listen_start(u, 2, "");
	crew_say(&crew, 0, "folder %s", folder);
	crew_say(&crew, 0, "listen a path s");
	snprintf(path, sizeof(path), "%s/s", folder);
	assert_string_equal(crew_hear(&crew, 0, "a listening "), path);
	crew_say(&crew, 1, "listen a path %s", path);
	crew_hear(&crew, 1, "a listening ");
	listen_close(0, "a");
	assert_true(exists(path));
	listen_close(1, "a");
	assert_true(poll_until(is_missing, path, WAIT_MS));
}

/* LS-6, SL-16 */
static void a_supervisor_that_is_killed_leaves_the_file(void **state)
{
	struct usher *u = *state;
	char path[128];

	listen_start(u, 1, "");
	snprintf(path, sizeof(path), "%s/s", listen_room(u));
	crew_say(&crew, 0, "listen a path %s", path);
	crew_hear(&crew, 0, "a listening ");
	usher_signal(u, SIGKILL);
	assert_int_equal(usher_ended(u), 128 + SIGKILL);
	crew_expect_gone(&crew, 0);
	assert_true(exists(path));
	assert_int_equal(try_connect_unix(path), -ECONNREFUSED);

	/* It is no worker's to take over. */
	unlink(usher_path(u, "mine"));
	usher_start(u);
	crew_await(&crew, 1);
	crew_say(&crew, 1, "listen a path %s", path);
	listen_expect_error(1, "a", "EADDRINUSE");
	assert_true(exists(path));
}

/* DF-8, SL-15 */
static void modes_of_a_path_are_set_in_shared_mode_too(void **state)
{
	struct usher *u = *state;
	struct stat st;
	char path[128];

	listen_start(u, 1, "");
	snprintf(path, sizeof(path), "%s/s", listen_room(u));
	crew_say(&crew, 0, "listen a path %s readable_all writable_all", path);
	crew_hear(&crew, 0, "a listening ");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0666, 0666);
	listen_close(0, "a");
}

/* LS-8: clients are told who listens, and that is not usherd. */
static void the_peer_of_a_path_is_the_worker(void **state)
{
	struct usher *u = *state;
	socklen_t size = sizeof(struct ucred);
	struct ucred peer;
	struct stat st;
	char path[128];

	listen_start(u, 1, "user: nobody\n");
	snprintf(path, sizeof(path), "%s/s", listen_room(u));
	crew_say(&crew, 0, "listen a path %s", path);
	crew_hear(&crew, 0, "a listening ");
	assert_int_equal(stat(path, &st), 0);
	AUTO_CLOSE int client = connect_unix(path);
	assert_int_equal(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size), 0);
	assert_int_equal(peer.pid, crew.mates[0].pid);
	assert_int_equal(peer.uid, st.st_uid);
	if (geteuid() == 0)
		assert_int_not_equal(st.st_uid, 0);
	close(take_fd(&client));
	listen_close(0, "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LISTEN_TEST(a_path_is_removed_with_its_last_holder),
		LISTEN_TEST(a_relative_path_is_the_workers),
		LISTEN_TEST(a_supervisor_that_is_killed_leaves_the_file),
		LISTEN_TEST(modes_of_a_path_are_set_in_shared_mode_too),
		LISTEN_TEST(the_peer_of_a_path_is_the_worker),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

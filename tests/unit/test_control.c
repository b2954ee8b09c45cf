/* The control socket, as a file and as a server.
 *
 * wrap: accept4 */
#include <ev.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/control.h"
#include "tests/helpers/line_client.h"
#include "tests/helpers/watches.h"

#define STATUS "{\"version\":1,\"command\":\"status\"}\n"
#define NOBODY 65534
#define GROUP  4242

struct fixture {
	struct ev_loop *loop;
	struct control *control;
	char folder[64], path[96];
	struct control_call *asked[CONTROL_CALLS + 1];
	size_t asked_count;
};

static int accept_failures; /* so many calls of accept4() fail with accept_errno */
static int accept_errno;

int __real_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	if (accept_failures == 0)
		return __real_accept4(fd, address, size, flags);
	accept_failures--;
	errno = accept_errno;
	return -1;
}

static void on_request(struct control_call *call, const char *command, const json_t *request,
		       void *ctx)
{
	struct fixture *f = ctx;

	f->asked[f->asked_count++] = call;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	alarm(60);
	f->loop = ev_loop_new(0);
	strcpy(f->folder, "/tmp/usher-control-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	assert_int_equal(chmod(f->folder, 0755), 0);
	snprintf(f->path, sizeof(f->path), "%s/control.sock", f->folder);
	*state = f;
	return 0;
}

static int open_group(struct fixture *f, gid_t group)
{
	return control_open(f->loop, f->path, group, on_request, f, &f->control);
}

static int set_up_open(void **state)
{
	set_up(state);
	return open_group(*state, (gid_t)-1);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	control_close(f->control);
	for (size_t i = 0; i < f->asked_count; i++)
		control_answer(f->asked[i], json_object());
	ev_loop_destroy(f->loop);
	assert_int_equal(rmdir(f->folder), 0); /* so every test also shows that no file is left */
	free(f);
	alarm(0);
	return 0;
}

static void run_until_asked(struct fixture *f, size_t count)
{
	while (f->asked_count < count)
		ev_run(f->loop, EVRUN_ONCE);
}

static void ask(struct fixture *f, struct line_client *client)
{
	line_client_connect(client, f->loop, f->path);
	line_client_send(client, STATUS, strlen(STATUS));
}

static int listen_on(const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* --- the file --------------------------------------------------------------------------------- */

static void the_file_has_its_mode_and_group_whatever_the_umask(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	mode_t mask = umask(0);

	if (getuid() != 0)
		skip();
	assert_int_equal(open_group(f, GROUP), 0);
	umask(mask);
	assert_int_equal(lstat(f->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_gid, GROUP);
	control_close(f->control);

	umask(0777);
	assert_int_equal(open_group(f, (gid_t)-1), 0);
	umask(mask);
	assert_int_equal(lstat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(st.st_gid, getegid());
}

static void a_missing_folder_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct control *c = NULL;
	char path[128];

	snprintf(path, sizeof(path), "%s/none/control.sock", f->folder);
	assert_int_equal(control_open(f->loop, path, (gid_t)-1, on_request, f, &c), -ENOENT);
	assert_null(c);
}

static void a_path_that_unix_sockets_cannot_have_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct control *c = NULL;
	char path[256];

	snprintf(path, sizeof(path), "%s/%0100d", f->folder, 0);
	assert_int_equal(control_open(f->loop, path, (gid_t)-1, on_request, f, &c), -ENAMETOOLONG);
}

static void a_dead_daemons_file_is_replaced(void **state)
{
	struct fixture *f = *state;
	struct line_client client;

	close(listen_on(f->path, SOCK_STREAM));
	assert_int_equal(open_group(f, (gid_t)-1), 0);
	ask(f, &client);
	run_until_asked(f, 1);
	line_client_done(&client);
}

static void a_living_daemons_file_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;
	int fd = listen_on(f->path, SOCK_STREAM);

	lstat(f->path, &before);
	assert_int_equal(open_group(f, (gid_t)-1), -EADDRINUSE);
	assert_int_equal(lstat(f->path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	close(fd);
	unlink(f->path);
}

static void a_full_queue_is_somebody_living(void **state)
{
	struct fixture *f = *state;
	int fd = listen_on(f->path, SOCK_STREAM);
	struct line_client waiting[2];

	line_client_connect(&waiting[0], f->loop, f->path);
	line_client_connect(&waiting[1], f->loop, f->path);
	assert_int_equal(open_group(f, (gid_t)-1), -EADDRINUSE);
	line_client_done(&waiting[0]);
	line_client_done(&waiting[1]);
	close(fd);
	unlink(f->path);
}

static void what_is_no_stream_socket_is_left_alone(void **state)
{
	struct fixture *f = *state;
	int fd = open(f->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	struct stat st;

	assert_int_equal(open_group(f, (gid_t)-1), -EADDRINUSE);
	assert_int_equal(lstat(f->path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	close(fd);
	unlink(f->path);

	fd = listen_on(f->path, SOCK_DGRAM);
	assert_int_equal(open_group(f, (gid_t)-1), -EADDRINUSE);
	assert_int_equal(lstat(f->path, &st), 0);
	close(fd);
	unlink(f->path);
}

static void closing_leaves_a_successors_file(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd;

	unlink(f->path);
	fd = listen_on(f->path, SOCK_STREAM);
	control_close(f->control);
	f->control = NULL;
	assert_int_equal(lstat(f->path, &st), 0);
	close(fd);
	unlink(f->path);
}

static void closing_nothing_is_fine(void **state)
{
	control_close(NULL);
}

/* --- the server ------------------------------------------------------------------------------- */

static void two_calls_at_once_get_their_own_answers(void **state)
{
	struct fixture *f = *state;
	struct line_client first, second;

	ask(f, &first);
	run_until_asked(f, 1);
	ask(f, &second);
	run_until_asked(f, 2);

	control_answer(f->asked[1], json_pack("{s:i}", "n", 2));
	line_client_wait(&second);
	assert_false(first.ended);
	control_answer(f->asked[0], json_pack("{s:i}", "n", 1));
	line_client_wait(&first);
	f->asked_count = 0;

	assert_string_equal(first.text, "{\"version\":1,\"ok\":true,\"n\":1}\n");
	assert_string_equal(second.text, "{\"version\":1,\"ok\":true,\"n\":2}\n");
	line_client_done(&first);
	line_client_done(&second);
}

static void more_clients_than_calls_wait_for_room(void **state)
{
	static struct line_client clients[CONTROL_CALLS + 1];
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		ask(f, &clients[i]);
	run_until_asked(f, CONTROL_CALLS);
	for (int i = 0; i < 10; i++)
		ev_run(f->loop, EVRUN_NOWAIT);
	assert_int_equal(f->asked_count, CONTROL_CALLS);

	control_answer(f->asked[0], json_object());
	f->asked[0] = f->asked[--f->asked_count];
	run_until_asked(f, CONTROL_CALLS);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		line_client_done(&clients[i]);
}

static void garbage_is_refused_and_the_next_client_served(void **state)
{
	struct fixture *f = *state;
	struct line_client client;

	line_client_connect(&client, f->loop, f->path);
	line_client_send(&client, "GET / HTTP/1.1\r\n", 16);
	line_client_wait(&client);
	assert_non_null(strstr(client.text, "{\"version\":1,\"ok\":false,\"error\":{\"exit\":64,"));
	line_client_done(&client);

	ask(f, &client);
	run_until_asked(f, 1);
	line_client_done(&client);
}

static void out_of_descriptors_accepting_pauses_and_resumes(void **state)
{
	struct fixture *f = *state;
	struct line_client client;

	accept_failures = 1;
	accept_errno = EMFILE;
	ask(f, &client);
	for (int i = 0; i < 10; i++)
		ev_run(f->loop, EVRUN_NOWAIT);
	assert_int_equal(f->asked_count, 0); /* it did not spin on the readable socket */
	run_until_asked(f, 1);
	line_client_done(&client);
}

static void a_refused_watch_is_made_again(void **state)
{
	struct fixture *f = *state;
	struct line_client client;

	watches_refused = true;
	watches_asked = 0;
	for (int i = 0; i < 100; i++)
		ev_run(f->loop, EVRUN_NOWAIT);
	assert_in_range(watches_asked, 1, 50); /* not in every turn */
	watches_refused = false;
	ask(f, &client);
	run_until_asked(f, 1);
	line_client_done(&client);
}

static void a_client_lost_while_accepting_costs_nothing(void **state)
{
	struct fixture *f = *state;
	struct line_client client;

	accept_failures = 2;
	accept_errno = ECONNABORTED;
	ask(f, &client);
	run_until_asked(f, 1);
	line_client_done(&client);
}

static void its_descriptors_do_not_reach_children(void **state)
{
	struct fixture *f = *state;
	struct line_client client;

	ask(f, &client);
	run_until_asked(f, 1);
	for (int fd = 3; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);
		socklen_t size = sizeof(int);
		int domain;

		if (flags != -1 && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
		    domain == AF_UNIX)
			assert_true(flags & FD_CLOEXEC);
	}
	line_client_done(&client);
}

/* --- who may ---------------------------------------------------------------------------------- */

/* Asks from a process of that user, primary and only supplementary group; tells what was seen. */
static bool may_change_as(struct fixture *f, uid_t uid, gid_t gid, gid_t supplementary)
{
	pid_t pid = fork();
	int status;
	bool may;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		char answer[256];

		strcpy(address.sun_path, f->path);
		alarm(20);
		if (setgroups(1, &supplementary) == -1 || setgid(gid) == -1 || setuid(uid) == -1 ||
		    connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1 ||
		    write(fd, STATUS, strlen(STATUS)) == -1)
			_exit(1);
		_exit(read(fd, answer, sizeof(answer)) > 0 ? 0 : 1);
	}

	run_until_asked(f, 1);
	may = control_may_change(f->asked[0]);
	control_answer(f->asked[--f->asked_count], json_object());
	ev_run(f->loop, EVRUN_ONCE); /* writes it, which is what the child waits for */
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return may;
}

static void root_and_the_sockets_group_may_change_others_may_ask(void **state)
{
	struct fixture *f = *state;

	if (getuid() != 0)
		skip();
	assert_int_equal(open_group(f, GROUP), 0);

	assert_true(may_change_as(f, 0, 0, 0));
	assert_true(may_change_as(f, NOBODY, GROUP, NOBODY));
	assert_true(may_change_as(f, NOBODY, NOBODY, GROUP));

	/* The mode already keeps others out; if somebody relaxes it they may still only ask. */
	assert_int_equal(chmod(f->path, 0666), 0);
	assert_false(may_change_as(f, NOBODY, NOBODY, NOBODY));
}

static void without_a_group_only_root_may_change(void **state)
{
	struct fixture *f = *state;

	if (getuid() != 0)
		skip();
	assert_int_equal(open_group(f, (gid_t)-1), 0);
	assert_int_equal(chmod(f->path, 0666), 0);
	assert_true(may_change_as(f, 0, NOBODY, NOBODY));
	assert_false(may_change_as(f, NOBODY, getegid(), getegid()));
}

#define CLOSED(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define OPEN(name)   cmocka_unit_test_setup_teardown(name, set_up_open, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLOSED(the_file_has_its_mode_and_group_whatever_the_umask),
		CLOSED(a_missing_folder_is_an_error),
		CLOSED(a_path_that_unix_sockets_cannot_have_is_an_error),
		CLOSED(a_dead_daemons_file_is_replaced),
		CLOSED(a_living_daemons_file_is_left_alone),
		CLOSED(a_full_queue_is_somebody_living),
		CLOSED(what_is_no_stream_socket_is_left_alone),
		OPEN(closing_leaves_a_successors_file),
		CLOSED(closing_nothing_is_fine),
		OPEN(two_calls_at_once_get_their_own_answers),
		OPEN(more_clients_than_calls_wait_for_room),
		OPEN(garbage_is_refused_and_the_next_client_served),
		OPEN(out_of_descriptors_accepting_pauses_and_resumes),
		OPEN(a_refused_watch_is_made_again),
		OPEN(a_client_lost_while_accepting_costs_nothing),
		OPEN(its_descriptors_do_not_reach_children),
		CLOSED(root_and_the_sockets_group_may_change_others_may_ask),
		CLOSED(without_a_group_only_root_may_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Sockets that somebody else has opened: inherited by number, or given by the service manager
 * under a name; and what usherd tells the service manager. */
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 120

/* A listening socket on a free port of 127.0.0.1. */
static int listen_tcp(int *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fd, 100), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static int listen_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 100), 0);
	return fd;
}

static void expect_refusal(struct usher *u, const char *text)
{
	AUTO_FREE char *log = NULL;

	usher_launch(u);
	assert_int_equal(usher_ended(u), EX_UNAVAILABLE);
	log = usher_log(u);
	if (!strstr(log, text))
		fail_msg("no \"%s\" in:\n%s", text, log);
}

/* SL-13 */
static void an_inherited_descriptor_is_served(void **state)
{
	struct usher *u = *state;
	int port;
	AUTO_CLOSE int fd = listen_tcp(&port);

	u->fds = &fd;
	u->n_fds = 1;
	usher_configure(u, "workers: 2\n"
			   "listeners:\n"
			   "  - {name: given, fd: 3, handler: echo}\n");
	usher_start(u);
	assert_int_equal(ask_port(u, "given"), port);
	clients_connect(&u->clients, port, 10);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, port, 10);
}

static void a_descriptor_that_is_not_there_is_named(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: given, fd: 77, handler: echo}\n");
	expect_refusal(u, "77");
}

static void a_descriptor_that_is_no_listening_socket_is_refused(void **state)
{
	struct usher *u = *state;
	AUTO_CLOSE int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int idle = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	AUTO_CLOSE int datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const int wrong[] = {null, idle, datagrams};

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: given, fd: 3, handler: echo}\n");
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		u->fds = &wrong[i];
		u->n_fds = 1;
		expect_refusal(u, "descriptor 3");
	}
}

static void sockets_are_found_by_their_names(void **state)
{
	struct usher *u = *state;
	int web_port, admin_port;
	AUTO_CLOSE int web = listen_tcp(&web_port);
	AUTO_CLOSE int admin = listen_tcp(&admin_port);

	u->fds = (const int[]){admin, web};
	u->n_fds = 2;
	u->fd_names = "admin:web";
	usher_configure(u, "workers: 2\n"
			   "listeners:\n"
			   "  - {name: a, systemd: web, handler: {reply: web}}\n"
			   "  - {name: b, systemd: admin, handler: {reply: admin}}\n");
	usher_start(u);
	AUTO_CLOSE int to_web = connect_tcp("127.0.0.1", web_port);
	AUTO_CLOSE int to_admin = connect_tcp("127.0.0.1", admin_port);
	client_expect(to_web, "web");
	client_expect(to_admin, "admin");
}

/* Were it closed as one that nobody wants, the control socket would get its number. */
static void a_given_socket_is_found_by_its_number(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *log = NULL;
	int web_port, admin_port;
	AUTO_CLOSE int web = listen_tcp(&web_port);
	AUTO_CLOSE int admin = listen_tcp(&admin_port);

	u->fds = (const int[]){web, admin};
	u->n_fds = 2;
	u->fd_names = "web:admin";
	usher_configure(u, "workers: 2\n"
			   "listeners:\n"
			   "  - {name: a, systemd: admin, handler: {reply: admin}}\n"
			   "  - {name: b, fd: 3, handler: echo}\n");
	usher_start(u);
	assert_int_equal(ask_port(u, "b"), web_port);
	clients_connect(&u->clients, web_port, 10);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, web_port, 10);
	AUTO_CLOSE int to_admin = connect_tcp("127.0.0.1", admin_port);
	client_expect(to_admin, "admin");
	close_fd(take_fd(&to_admin));
	clients_close(&u->clients, u->clients.count);

	usher_signal(u, SIGTERM);
	assert_int_equal(usher_ended(u), 0);
	log = usher_log(u);
	assert_null(strstr(log, "has no listener"));
}

/* By its name and by its number, in either order. */
static void a_given_socket_goes_to_one_listener_only(void **state)
{
	static const char *const both[][2] = {{"systemd: web", "fd: 3"}, {"fd: 3", "systemd: web"}};
	struct usher *u = *state;
	int port;
	AUTO_CLOSE int fd = listen_tcp(&port);

	u->fds = &fd;
	u->n_fds = 1;
	u->fd_names = "web";
	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		AUTO_FREE char *log = NULL;
		char place[96];

		usher_configure(u,
				"listeners:\n"
				"  - {name: a, %s, handler: echo}\n"
				"  - {name: b, %s, handler: echo}\n",
				both[i][0], both[i][1]);
		expect_refusal(u, "another listener has taken ");
		log = usher_log(u);
		snprintf(place, sizeof(place), "%s:4:5: listener \"b\": ", u->config);
		if (!strstr(log, place))
			fail_msg("no \"%s\" in:\n%s", place, log);
	}
}

/* One of the numbers is that of the listener's own socket, if that is opened before they are looked
 * at. */
static void a_socket_that_usherd_opens_is_not_taken_for_a_given_one(void **state)
{
	enum { FIRST = 3, LAST = 40 };
	struct usher *u = *state;
	AUTO_FREE char *log = NULL;
	char text[4096] = "", line[64];

	for (int fd = FIRST; fd <= LAST; fd++) {
		snprintf(line, sizeof(line), "  - {name: fd%d, fd: %d, handler: echo}\n", fd, fd);
		strcat(text, line);
	}
	usher_configure(u,
			"workers: 1\n"
			"listeners:\n"
			"  - {name: own, host: 127.0.0.1, port: 0, handler: echo}\n%s",
			text);
	expect_refusal(u, "descriptor 3 is not");
	log = usher_log(u);
	for (int fd = FIRST; fd <= LAST; fd++) {
		snprintf(line, sizeof(line), "descriptor %d is not a listening stream socket", fd);
		if (!strstr(log, line))
			fail_msg("no \"%s\" in:\n%s", line, log);
	}
}

static void a_name_that_was_not_given_is_named(void **state)
{
	struct usher *u = *state;
	int port;
	AUTO_CLOSE int fd = listen_tcp(&port);

	u->fds = &fd;
	u->n_fds = 1;
	u->fd_names = "web";
	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: a, systemd: wbe, handler: echo}\n");
	expect_refusal(u, "wbe");
}

static void a_socket_that_no_listener_wants_is_closed_loudly(void **state)
{
	struct usher *u = *state;
	int web_port, extra_port;
	AUTO_CLOSE int web = listen_tcp(&web_port);
	AUTO_CLOSE int extra = listen_tcp(&extra_port);

	u->fds = (const int[]){web, extra};
	u->n_fds = 2;
	u->fd_names = "web:superfluous";
	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: a, systemd: web, handler: echo}\n");
	usher_start(u);
	assert_true(usher_logs(u, "superfluous"));
	close_fd(take_fd(&extra));
	expect_tcp_refused("127.0.0.1", extra_port);
}

/* LISTEN_PID is not usherd's: the sockets are for another. */
static void sockets_for_another_process_are_not_taken(void **state)
{
	struct usher *u = *state;
	int port;
	AUTO_CLOSE int fd = listen_tcp(&port);

	u->fds = &fd;
	u->n_fds = 1;
	u->env = (const char *const[]){"LISTEN_FDS=1", "LISTEN_FDNAMES=web", "LISTEN_PID=1", NULL};
	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: a, systemd: web, handler: echo}\n");
	expect_refusal(u, "web");
}

/* Its only listener has the socket that is given to it. */
static void start_with_given(struct usher *u, const int *fd)
{
	u->fds = fd;
	u->n_fds = 1;
	u->fd_names = "given";
	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: a, systemd: given, handler: echo}\n");
	usher_start(u);
}

static void the_file_of_a_given_socket_is_left_in_place(void **state)
{
	struct usher *u = *state;
	AUTO_CLOSE int fd = listen_unix(usher_path(u, "given.sock"));

	start_with_given(u, &fd);
	AUTO_CLOSE int client = connect_unix(usher_path(u, "given.sock"));
	client_expect_echo(client);
	close_fd(take_fd(&client));
	usher_signal(u, SIGTERM);
	assert_int_equal(usher_ended(u), 0);

	/* The socket is still listening: the next start serves who connects in between. */
	AUTO_CLOSE int queued = connect_unix(usher_path(u, "given.sock"));
	usher_start(u);
	client_expect_echo(queued);
}

static void a_given_socket_may_have_a_path_that_is_no_utf8(void **state)
{
	struct usher *u = *state;
	AUTO_CLOSE int fd = listen_unix(usher_path(u, "\xff.sock"));

	start_with_given(u, &fd);
	assert_string_equal(ask_address(u, "a"), usher_path(u, "?.sock"));
}

static void the_watchdog_is_told_that_it_lives(void **state)
{
	struct usher *u = *state;

	u->env = (const char *const[]){"WATCHDOG_USEC=200000", NULL};
	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);
	for (int i = 0; i < 5; i++)
		assert_true(usher_was_told(u, "WATCHDOG=1", WAIT_MS));
}

static void the_service_manager_is_told_a_status(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "workers: 2\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_launch(u);
	assert_true(usher_was_told(u, "STATUS=", WAIT_MS));
	assert_true(ask_until_workers(u, "ready", 2));
}

static void without_a_service_manager_it_runs_as_well(void **state)
{
	struct usher *u = *state;

	u->env = (const char *const[]){"NOTIFY_SOCKET=/nonexistent/notify", NULL};
	usher_configure(u,
			"workers: 1\n"
			"listeners:\n"
			"  - {name: echo, path: %s/s.sock, handler: echo}\n",
			u->folder);
	usher_launch(u);
	assert_true(usher_logs(u, "s.sock"));
	assert_true(usher_logs(u, "usherctl asks at "));
	assert_true(ask_until_workers(u, "ready", 1));
}

/* Starts usherd without standard streams, but with a passed socket, and waits until it is ready. */
static void start_without_streams(struct usher *u, int fd)
{
	char program[PATH_MAX], notify[128];
	const char *const argv[] = {"/bin/sh",
				    "-c",
				    "exec 0<&- 1>&- 2>&-; exec \"$0\" -c \"$1\"",
				    built("usherd", program),
				    u->config,
				    NULL};
	const char *const env[] = {notify, NULL};

	snprintf(notify, sizeof(notify), "NOTIFY_SOCKET=%s", usher_path(u, "notify"));
	process_start(&u->process,
		      &(struct process_options){
			      .argv = argv, .env = env, .fds = &fd, .n_fds = 1, .fd_names = "web"});
	assert_true(usher_was_told(u, "READY=1", WAIT_MS));
}

static void expect_null_streams(pid_t pid)
{
	char link[64], target[PATH_MAX];

	for (int fd = 0; fd <= 2; fd++) {
		snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)pid, fd);
		ssize_t size = readlink(link, target, sizeof(target) - 1);

		assert_true(size > 0);
		target[size] = '\0';
		assert_string_equal(target, "/dev/null");
	}
}

static void standard_streams_that_are_closed_are_no_sockets(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port;
	AUTO_CLOSE int web = listen_tcp(&port);

	usher_configure(u, "workers: 2\n"
			   "listeners:\n"
			   "  - {name: given, systemd: web, handler: echo}\n"
			   "  - {name: own, host: 127.0.0.1, port: 0, handler: echo}\n");
	start_without_streams(u, web);
	ask_ready(u, 2, pids);
	expect_null_streams(u->process.pid);
	expect_null_streams(pids[0]);
	expect_null_streams(pids[1]);
	assert_int_equal(ask_port(u, "given"), port);
	clients_connect(&u->clients, port, 10);
	clients_expect_echo(&u->clients);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(an_inherited_descriptor_is_served),
		USHER_TEST(a_descriptor_that_is_not_there_is_named),
		USHER_TEST(a_descriptor_that_is_no_listening_socket_is_refused),
		USHER_TEST(sockets_are_found_by_their_names),
		USHER_TEST(a_given_socket_is_found_by_its_number),
		USHER_TEST(a_given_socket_goes_to_one_listener_only),
		USHER_TEST(a_socket_that_usherd_opens_is_not_taken_for_a_given_one),
		USHER_TEST(a_name_that_was_not_given_is_named),
		USHER_TEST(a_socket_that_no_listener_wants_is_closed_loudly),
		USHER_TEST(sockets_for_another_process_are_not_taken),
		USHER_TEST(the_file_of_a_given_socket_is_left_in_place),
		USHER_TEST(a_given_socket_may_have_a_path_that_is_no_utf8),
		USHER_TEST(the_watchdog_is_told_that_it_lives),
		USHER_TEST(the_service_manager_is_told_a_status),
		USHER_TEST(without_a_service_manager_it_runs_as_well),
		USHER_TEST(standard_streams_that_are_closed_are_no_sockets),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

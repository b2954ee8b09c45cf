/* The programs as a person at a shell meets them: options, checks without running, complaints,
 * tables, exit codes of sysexits.h. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 120
#define NOBODY           65534

/* Runs a program of the build with arguments up to a NULL, as a user (0: the test's own). */
static int run(uid_t uid, char **ret_out, char **ret_err, const char *program, ...)
{
	char path[PATH_MAX];
	const char *argv[PROCESS_ARGUMENTS_MAX] = {built(program, path)};
	va_list args;

	va_start(args, program);
	process_arguments(argv, 1, args);
	va_end(args);
	return process_run(&(struct process_options){.argv = argv, .uid = uid}, ret_out, ret_err);
}

static void expect_text(const char *text, const char *wanted)
{
	if (!strstr(text, wanted))
		fail_msg("no \"%s\" in:\n%s", wanted, text);
}

static const char good[] = "workers: 1\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n";

static void wrong_options_are_usage_errors(void **state)
{
	static const char *const wrong[][2] = {
		{"usherd", "--no-such-option"},
		{"usherd", "superfluous"},
		{"usherd", "-c"},
		{"usherctl", "--no-such-option"},
		{"usherctl", "no-verb"},
		{"usherctl", "-s"},
		{"usherctl", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		AUTO_FREE char *out = NULL;
		AUTO_FREE char *err = NULL;

		assert_int_equal(run(0, &out, &err, wrong[i][0], wrong[i][1], NULL), EX_USAGE);
		assert_string_equal(out, "");
		expect_text(err, wrong[i][0]);
	}
}

static void usherctl_checks_what_its_verbs_are_given(void **state)
{
	static const char *const wrong[][3] = {
		{"scale", NULL, NULL}, {"scale", "two", NULL}, {"scale", "-1", NULL},
		{"scale", "2", "3"},   {"stop", "now", NULL},  {"status", "all", NULL},
		{"scale", "", NULL},
	};
	struct usher *u = *state;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_int_equal(
			ask_ctl(u, NULL, NULL, wrong[i][0], wrong[i][1], wrong[i][2], NULL),
			EX_USAGE);
}

static void help_and_version_go_to_standard_output(void **state)
{
	static const char *const asked[][3] = {{"usherd", "--help", "-c"},
					       {"usherd", "-v", "usherd"},
					       {"usherd", "-V", "usherd"},
					       {"usherctl", "--help", "scale"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
		AUTO_FREE char *out = NULL;
		AUTO_FREE char *err = NULL;

		assert_int_equal(run(0, &out, &err, asked[i][0], asked[i][1], NULL), 0);
		expect_text(out, asked[i][2]);
		assert_string_equal(err, "");
	}
}

/* It names a port that is taken, one that only root may have, and a path that does not exist. */
static void a_check_needs_no_privileges_and_opens_nothing(void **state)
{
	struct usher *u = *state;
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	AUTO_CLOSE int theirs = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	AUTO_FREE char *err = NULL;
	struct stat st;

	assert_int_equal(bind(theirs, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(theirs, 5), 0);
	assert_int_equal(getsockname(theirs, (struct sockaddr *)&address, &size), 0);
	usher_configure(u,
			"workers: 2\n"
			"listeners:\n"
			"  - {name: busy, host: 127.0.0.1, port: %d, handler: echo}\n"
			"  - {name: low, port: 80, handler: echo}\n"
			"  - {name: file, path: %s/nowhere/s.sock, handler: echo}\n"
			"  - {name: given, systemd: web, handler: echo}\n",
			ntohs(address.sin_port), u->folder);

	int code = run(geteuid() == 0 ? NOBODY : 0, NULL, &err, "usherd", "-c", u->config, "-t",
		       NULL);
	if (code != 0)
		fail_msg("usherd -t ended with %d: %s", code, err);
	assert_int_equal(stat(u->control, &st), -1);
}

static void a_printed_configuration_loads_to_the_same(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *first = NULL;
	AUTO_FREE char *second = NULL;

	usher_configure(u,
			"workers: 3\n"
			"listeners:\n"
			"  - {name: echo, port: 0, backlog: 17, ipv6_only: true, handler: echo}\n"
			"  - {name: file, path: %s/s.sock, mode: '0600', exclusive: true,\n"
			"     handler: {reply: \"a: 'b'\\n\\t#c\"}}\n"
			"  - {name: hidden, path: '@x', handler: discard}\n",
			u->folder);
	assert_int_equal(run(0, &first, NULL, "usherd", "-c", u->config, "-T", NULL), 0);
	expect_text(first, "backlog: 17");
	FILE *file = fopen(u->config, "we");
	assert_non_null(file);
	fputs(first, file);
	fclose(file);
	assert_int_equal(run(0, &second, NULL, "usherd", "-c", u->config, "-T", NULL), 0);
	assert_string_equal(first, second);
}

static void what_cannot_be_printed_is_an_error(void **state)
{
	const struct usher *u = *state;
	char program[PATH_MAX];
	const char *const argv[] = {
		"/bin/sh", "-c", "exec 1>&-; exec \"$0\" -T -c \"$1\"", built("usherd", program),
		u->config, NULL};
	AUTO_FREE char *err = NULL;

	usher_configure(*state, "%s", good);
	assert_int_equal(process_run(&(struct process_options){.argv = argv}, NULL, &err),
			 EX_IOERR);
	expect_text(err, "standard output");
}

static void every_mistake_is_shown_with_its_place(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *err = NULL;
	char place[96];

	usher_configure(u, "workres: 2\n"                                         /* 2 */
			   "listeners:\n"                                         /* 3 */
			   "  - {name: a, port: 70000, handler: echo}\n"          /* 4 */
			   "  - {name: b, port: 0, no_delay: 5, handler: echo}\n" /* 5 */
			   "  - {name: c, port: 0, handler: ecko}\n");            /* 6 */
	assert_int_equal(run(0, NULL, &err, "usherd", "-c", u->config, "-t", NULL), EX_CONFIG);
	for (int line = 2; line <= 6; line++) {
		if (line == 3)
			continue;
		snprintf(place, sizeof(place), "%s:%d:", u->config, line);
		expect_text(err, place);
	}
	snprintf(place, sizeof(place), "%s:2:1: ", u->config);
	expect_text(err, place);
	expect_text(err, "workers"); /* what was meant */
	expect_text(err, "no_delay");
	expect_text(err, "not yet supported");
	expect_text(err, "echo");
}

static void broken_yaml_has_its_place(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *err = NULL;
	char place[96];

	usher_configure(u, "workers: [\n");
	assert_int_equal(run(0, NULL, &err, "usherd", "-c", u->config, NULL), EX_CONFIG);
	snprintf(place, sizeof(place), "%s:", u->config);
	const char *complaint = strstr(err, place);
	assert_non_null(complaint);
	int line, column;
	assert_int_equal(sscanf(complaint + strlen(place), "%d:%d: ", &line, &column), 2);
	assert_in_range(line, 2, 3);
}

static void a_missing_file_is_named(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *err = NULL;

	int code = run(0, NULL, &err, "usherd", "-c", usher_path(u, "none.yaml"), NULL);
	assert_true(code == EX_NOINPUT || code == EX_CONFIG);
	expect_text(err, usher_path(u, "none.yaml"));
	expect_text(err, "No such file");
}

/* No resolver is asked for a name with a part of more than 63 bytes. */
static void a_name_without_an_address_is_unavailable(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *err = NULL;
	char name[65] = "";

	memset(name, 'x', sizeof(name) - 1);
	usher_configure(u,
			"listeners:\n"
			"  - {name: a, host: %s, port: 0, handler: echo}\n",
			name);
	assert_int_equal(run(0, NULL, &err, "usherd", "-c", u->config, NULL), EX_UNAVAILABLE);
	expect_text(err, name);
	expect_text(err, "(getaddrinfo)");
}

/* A check of the configuration with so much memory to write to, in KiB. */
static int check_within(const struct usher *u, unsigned int limit, char **ret_err)
{
	char path[PATH_MAX], size[16];
	const char *argv[] = {"/bin/sh",
			      "-c",
			      "ulimit -d \"$1\" && exec \"$0\" -t -c \"$2\"",
			      built("usherd", path),
			      size,
			      u->config,
			      NULL};

	snprintf(size, sizeof(size), "%u", limit);
	return process_run(&(struct process_options){.argv = argv}, NULL, ret_err);
}

/* What it needs at once to read a file is more than a step. With less it does not even start. */
static void memory_that_is_lacking_is_no_mistake_in_the_configuration(void **state)
{
	enum { STEP_KIB = 256, LIMIT_KIB = 16 << 10 };
	struct usher *u = *state;
	bool seen = false;
	int code = -1;

	usher_configure(u, "%s", good);
	for (unsigned int limit = STEP_KIB; code != 0 && limit <= LIMIT_KIB; limit += STEP_KIB) {
		AUTO_FREE char *err = NULL;

		code = check_within(u, limit, &err);
		assert_int_not_equal(code, EX_CONFIG);
		if (code != EX_OSERR)
			continue;
		expect_text(err, "Cannot allocate memory");
		seen = true;
	}
	if (code != 0)
		skip(); /* a sanitizer needs more than anybody has */
	assert_true(seen);
}

static void usherctl_without_a_daemon_says_how_to_go_on(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *out = NULL;
	AUTO_FREE char *err = NULL;

	assert_int_equal(ask_ctl(u, &out, &err, "status", NULL), EX_UNAVAILABLE);
	assert_string_equal(out, "");
	expect_text(err, u->control);
	expect_text(err, "usherd");
}

static void status_is_a_table_of_what_there_is(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *out = NULL;
	char text[64];
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u, "%s", good);
	usher_start(u);
	assert_int_equal(ask_ctl(u, &out, NULL, "status", NULL), 0);
	ask_ready(u, 1, pids);
	snprintf(text, sizeof(text), "%d", (int)u->process.pid);
	expect_text(out, text);
	snprintf(text, sizeof(text), "%d", (int)pids[0]);
	expect_text(out, text);
	snprintf(text, sizeof(text), "127.0.0.1:%d", ask_port(u, "echo"));
	expect_text(out, text);
	expect_text(out, "ready");
	expect_text(out, "echo");
}

static void connections_are_a_table_with_the_sum(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *out = NULL;

	usher_configure(u, "%s", good);
	usher_start(u);
	clients_connect(&u->clients, ask_port(u, "echo"), 37);
	clients_expect_echo(&u->clients);
	assert_int_equal(ask_ctl(u, &out, NULL, "connections", NULL), 0);
	expect_text(out, "37");
	expect_text(out, "echo");
}

static void an_unknown_listener_is_an_error(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *err = NULL;

	usher_configure(u, "%s", good);
	usher_start(u);
	assert_int_not_equal(ask_ctl(u, NULL, &err, "connections", "ecko", NULL), 0);
	expect_text(err, "ecko");
}

static void usherctl_finds_the_socket_by_the_configuration(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "%s", good);
	usher_start(u);
	assert_int_equal(run(0, NULL, NULL, "usherctl", "-c", u->config, "status", NULL), 0);
}

static void status_has_every_field_of_its_schema(void **state)
{
	static const char *const supervisor[] = {"pid", "version", "state", "uptime_s", "config"};
	static const char *const worker[] = {"worker", "slot", "pid", "state", "age_s", "restarts"};
	static const char *const listener[] = {"name",  "address", "kind", "exclusive",
					       "owner", "handler", "limit"};
	struct usher *u = *state;

	usher_configure(u, "%s", good);
	usher_start(u);
	json_t *status = ask_status(u);
	json_t *of_supervisor = json_object_get(status, "supervisor");
	json_t *of_worker = json_array_get(json_object_get(status, "workers"), 0);
	json_t *of_listener = json_array_get(json_object_get(status, "listeners"), 0);

	assert_non_null(json_object_get(status, "version"));
	for (size_t i = 0; i < ARRAY_LEN(supervisor); i++)
		assert_non_null(json_object_get(of_supervisor, supervisor[i]));
	for (size_t i = 0; i < ARRAY_LEN(worker); i++)
		assert_non_null(json_object_get(of_worker, worker[i]));
	for (size_t i = 0; i < ARRAY_LEN(listener); i++)
		assert_non_null(json_object_get(of_listener, listener[i]));
	assert_int_equal(json_integer_value(json_object_get(of_supervisor, "pid")), u->process.pid);
	assert_string_equal(json_string_value(json_object_get(of_supervisor, "config")), u->config);
	assert_string_equal(json_string_value(json_object_get(of_listener, "kind")), "tcp");
	assert_true(json_is_false(json_object_get(of_listener, "exclusive")));
	json_decref(status);
}

/* A path may be any bytes, and JSON may not. */
static void status_shows_a_path_that_is_no_utf8_as_well_as_it_can(void **state)
{
	struct usher *u = *state;
	char shown[sizeof(u->config)];

	strcpy(u->config, usher_path(u, "\xff\xc3.yaml"));
	strcpy(shown, usher_path(u, "?\?.yaml"));
	usher_configure(u, "%s", good);
	usher_start(u);
	json_t *status = ask_status(u);
	assert_string_equal(ask_text(json_object_get(status, "supervisor"), "config"), shown);
	json_decref(status);
}

/* The mode of the socket keeps strangers out; those whom it lets in may ask, and not more. */
static void a_stranger_cannot_stop_it(void **state)
{
	struct usher *u = *state;

	if (geteuid() != 0)
		skip();
	usher_configure(u, "%s", good);
	usher_start(u);
	assert_int_not_equal(run(NOBODY, NULL, NULL, "usherctl", "-s", u->control, "stop", NULL),
			     0);
	assert_int_equal(chmod(u->control, 0666), 0);
	assert_int_equal(run(NOBODY, NULL, NULL, "usherctl", "-s", u->control, "stop", NULL),
			 EX_NOPERM);
	assert_int_equal(ask_total(u), 0);
}

/* A client that stays keeps it from ending. */
static void who_is_stopping_cannot_be_scaled(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *err = NULL;

	usher_configure(u, "%s", good);
	usher_start(u);
	usher_holds_other_fds(u);
	clients_connect(&u->clients, ask_port(u, "echo"), 1);
	clients_expect_echo(&u->clients);
	assert_int_equal(ask_ctl(u, NULL, NULL, "stop", NULL), 0);
	assert_int_equal(ask_ctl(u, NULL, &err, "scale", "2", NULL), EX_UNAVAILABLE);
	expect_text(err, "usherd is stopping");
	clients_close(&u->clients, 1);
	assert_int_equal(usher_ended(u), 0);
}

/* It could open a few sockets more. */
static void scaling_beyond_the_descriptors_is_an_error_of_the_system(void **state)
{
	struct usher *u = *state;
	struct rlimit limit, low;
	AUTO_FREE char *err = NULL;

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, distribute: reuse-port,\n"
			   "     handler: echo}\n");
	usher_start(u);
	usher_holds_other_fds(u);
	assert_int_equal(prlimit(u->process.pid, RLIMIT_NOFILE, NULL, &limit), 0);
	low = limit;
	low.rlim_cur = (rlim_t)kernel_fd_count(u->process.pid) + 16;
	assert_int_equal(prlimit(u->process.pid, RLIMIT_NOFILE, &low, NULL), 0);
	assert_int_equal(ask_ctl(u, NULL, &err, "scale", "64", NULL), EX_OSERR);
	expect_text(err, strerror(EMFILE));
	assert_int_equal(prlimit(u->process.pid, RLIMIT_NOFILE, &limit, NULL), 0);
	assert_true(ask_until_workers(u, "ready", 1));
}

static void workers_auto_is_at_least_one(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u, "workers: auto\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);
	size_t count = ask_workers(u, "ready", pids);
	assert_in_range(count, 1, (uintmax_t)sysconf(_SC_NPROCESSORS_ONLN));
}

static void workers_run_as_the_configured_user(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	char path[64];

	if (geteuid() != 0)
		skip();
	usher_configure(u, "user: nobody\n%s", good);
	usher_start(u);
	ask_ready(u, 1, pids);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pids[0]);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	char text[4096];
	size_t size = fread(text, 1, sizeof(text) - 1, file);
	text[size] = '\0';
	fclose(file);
	expect_text(text, "Uid:\t65534\t65534\t65534\t65534");
	expect_text(text, "Gid:\t65534\t65534\t65534\t65534");
	expect_text(text, "CapEff:\t0000000000000000");
	expect_text(text, "CapPrm:\t0000000000000000");
	clients_connect(&u->clients, ask_port(u, "echo"), 1);
	clients_expect_echo(&u->clients);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(wrong_options_are_usage_errors),
		USHER_TEST(usherctl_checks_what_its_verbs_are_given),
		USHER_TEST(help_and_version_go_to_standard_output),
		USHER_TEST(a_check_needs_no_privileges_and_opens_nothing),
		USHER_TEST(a_printed_configuration_loads_to_the_same),
		USHER_TEST(what_cannot_be_printed_is_an_error),
		USHER_TEST(every_mistake_is_shown_with_its_place),
		USHER_TEST(broken_yaml_has_its_place),
		USHER_TEST(a_missing_file_is_named),
		USHER_TEST(a_name_without_an_address_is_unavailable),
		USHER_TEST(memory_that_is_lacking_is_no_mistake_in_the_configuration),
		USHER_TEST(usherctl_without_a_daemon_says_how_to_go_on),
		USHER_TEST(status_is_a_table_of_what_there_is),
		USHER_TEST(connections_are_a_table_with_the_sum),
		USHER_TEST(an_unknown_listener_is_an_error),
		USHER_TEST(usherctl_finds_the_socket_by_the_configuration),
		USHER_TEST(status_has_every_field_of_its_schema),
		USHER_TEST(status_shows_a_path_that_is_no_utf8_as_well_as_it_can),
		USHER_TEST(a_stranger_cannot_stop_it),
		USHER_TEST(who_is_stopping_cannot_be_scaled),
		USHER_TEST(scaling_beyond_the_descriptors_is_an_error_of_the_system),
		USHER_TEST(workers_auto_is_at_least_one),
		USHER_TEST(workers_run_as_the_configured_user),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

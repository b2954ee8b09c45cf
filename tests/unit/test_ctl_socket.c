#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/ctl_socket.h"

#define NOBODY    65534
#define LISTENERS "listeners: [{name: echo, port: 0, handler: echo}]\n"

static int set_up(void **state)
{
	char *file = strdup("/tmp/usher-ctl-XXXXXX");
	int fd = mkstemp(file);

	assert_true(fd >= 0);
	close(fd);
	*state = file;
	return 0;
}

static int tear_down(void **state)
{
	unlink(*state);
	free(*state);
	return 0;
}

static int find_with(const char *file, const char *text, char **ret)
{
	struct ctl_options options = {.config = file};
	FILE *out = fopen(file, "w");

	fputs(text, out);
	fclose(out);
	return ctl_socket_find(&options, ret);
}

static void the_socket_that_was_named_is_taken(void **state)
{
	struct ctl_options options = {.socket = "/run/other.sock"};
	AUTO_FREE char *path = NULL;

	assert_int_equal(ctl_socket_find(&options, &path), 0);
	assert_string_equal(path, "/run/other.sock");
}

static void a_configuration_names_the_socket(void **state)
{
	AUTO_FREE char *path = NULL;

	assert_int_equal(find_with(*state, "control: /run/a.sock\n" LISTENERS, &path), 0);
	assert_string_equal(path, "/run/a.sock");
}

static void a_broken_configuration_is_exit_78(void **state)
{
	char *path = NULL;

	assert_int_equal(find_with(*state, "contrl: /run/a.sock\n" LISTENERS, &path), EX_CONFIG);
	assert_null(path);
}

static void a_configuration_that_is_not_there_is_exit_66(void **state)
{
	struct ctl_options options = {.config = "/nonexistent/usher.yaml"};
	char *path = NULL;

	assert_int_equal(ctl_socket_find(&options, &path), EX_NOINPUT);
	assert_null(path);
}

/* By its mode, which only others than root must heed. */
static void a_configuration_that_may_not_be_read_is_exit_66(void **state)
{
	struct ctl_options options = {.config = *state};
	char *path = NULL;

	assert_int_equal(chmod(options.config, 0), 0);
	if (getuid() == 0)
		assert_int_equal(seteuid(NOBODY), 0);
	int code = ctl_socket_find(&options, &path);
	assert_int_equal(seteuid(getuid()), 0);
	assert_int_equal(code, EX_NOINPUT);
	assert_null(path);
}

static void what_is_no_file_is_exit_66(void **state)
{
	const char *const names[] = {*state, "/dev/null", "/"};

	assert_int_equal(unlink(*state), 0);
	assert_int_equal(mkfifo(*state, 0600), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct ctl_options options = {.config = names[i]};
		char *path = NULL;

		assert_int_equal(ctl_socket_find(&options, &path), EX_NOINPUT);
		assert_null(path);
	}
}

static void a_process_out_of_descriptors_is_exit_71(void **state)
{
	struct ctl_options options = {.config = *state};
	struct rlimit limit;
	char *path = NULL;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, limit.rlim_max}), 0);
	int code = ctl_socket_find(&options, &path);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(code, EX_OSERR);
	assert_null(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_socket_that_was_named_is_taken),
		TEST(a_configuration_names_the_socket),
		TEST(a_broken_configuration_is_exit_78),
		TEST(a_configuration_that_is_not_there_is_exit_66),
		TEST(a_configuration_that_may_not_be_read_is_exit_66),
		TEST(what_is_no_file_is_exit_66),
		TEST(a_process_out_of_descriptors_is_exit_71),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

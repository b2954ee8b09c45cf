#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/config_fixture.h"

#define TIME_LIMIT 60
#define NOBODY     65534

static void example_loads(void **state)
{
	struct config_fixture *f = *state;

	assert_int_equal(fchdir(f->before), 0);
	const struct config *config = config_load_ok(f, "conf/usher.yaml");
	assert_string_equal(config->listeners[0].name, "echo");
	assert_int_equal(config->listeners[0].port, 8124);
	assert_null(config->listeners[0].host);
}

/* Runs check in a child, as nobody where that is possible; XDG_RUNTIME_DIR is set for it. */
static bool holds_for_nobody(bool (*check)(void), const char *runtime_folder)
{
	int status;
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		if (geteuid() == 0 && setuid(NOBODY) == -1)
			_exit(2);
		setenv("XDG_RUNTIME_DIR", runtime_folder, 1);
		_exit(check() ? 0 : 1);
	}

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool privileged_config_is_valid(void)
{
	static const char text[] = "user: root\nlisteners:\n"
				   "  - {name: one, port: 1, handler: echo}\n"
				   "  - {name: two, path: /one.sock, owner: root, handler: echo}\n";
	struct config_errors errors = {.count = 0};
	struct config *config = NULL;

	int err = config_parse("test.yaml", text, sizeof(text) - 1, &errors, &config);
	config_errors_done(&errors);
	config_free(config);
	return err == 0;
}

static void checking_needs_no_privileges(void **state)
{
	assert_true(holds_for_nobody(privileged_config_is_valid, "/run/user/1000"));
}

static bool control_is(const char *expected)
{
	char *path = NULL;

	if (config_default_control(&path) != 0)
		return false;
	bool same = strcmp(path, expected) == 0;
	free(path);
	return same;
}

static bool control_is_in_session(void)
{
	return control_is("/run/user/1000/usher/control.sock");
}

static bool control_is_the_systems(void)
{
	return control_is(CONFIG_SYSTEM_CONTROL);
}

static void control_socket_of_an_ordinary_user_is_in_the_sessions_folder(void **state)
{
	char longest[120] = "/";

	assert_true(holds_for_nobody(control_is_in_session, "/run/user/1000"));
	assert_true(holds_for_nobody(control_is_the_systems, ""));
	assert_true(holds_for_nobody(control_is_the_systems, "relative"));

	memset(longest + 1, 'x', sizeof(longest) - 2);
	longest[sizeof(longest) - 1] = '\0';
	assert_true(holds_for_nobody(control_is_the_systems, longest));
}

static void control_socket_of_root_is_the_systems(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_true(control_is_the_systems());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONFIG_TEST(example_loads),
		CONFIG_TEST(checking_needs_no_privileges),
		CONFIG_TEST(control_socket_of_an_ordinary_user_is_in_the_sessions_folder),
		CONFIG_TEST(control_socket_of_root_is_the_systems),
	};

	alarm(TIME_LIMIT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/config_file.h"
#include "tests/helpers/config_fixture.h"

#define TIME_LIMIT 60

static void folder_beside_the_file_is_read_after_it_in_the_order_of_names(void **state)
{
	mkdir("conf.d", 0700);
	config_put("usher.yaml", "workers: 1\nstop_timeout: 1s\n" ONE_LISTENER);
	config_put("conf.d/20.yaml",
		   "workers: 3\nlisteners: [{name: three, port: 0, handler: echo}]\n");
	config_put("conf.d/10.yaml",
		   "workers: 2\nlisteners: [{name: two, port: 0, handler: echo}]\n");
	config_put("conf.d/30.yaml", "# nothing but a remark\n");

	const struct config *config = config_load_ok(*state, "usher.yaml");
	assert_int_equal(config->workers, 3);
	assert_int_equal(config->stop_timeout_ms, 1000);
	assert_int_equal(config->n_listeners, 3);
	assert_string_equal(config->listeners[0].name, "one");
	assert_string_equal(config->listeners[1].name, "two");
	assert_string_equal(config->listeners[2].name, "three");
	assert_string_equal(config->listeners[1].mark.file, "conf.d/10.yaml");
	assert_int_equal(config->n_files, 4);
}

static void hidden_and_other_files_of_the_folder_are_not_read(void **state)
{
	mkdir("conf.d", 0700);
	config_put("usher.yaml", ONE_LISTENER);
	config_put("conf.d/.hidden.yaml", "broken: [");
	config_put("conf.d/usher.yaml~", "broken: [");
	config_put("conf.d/usher.yml", "broken: [");
	config_put("conf.d/.yaml", "broken: [");

	assert_int_equal(config_load_ok(*state, "usher.yaml")->n_files, 1);
}

static void listeners_may_come_from_the_folder_alone(void **state)
{
	struct config_fixture *f = *state;
	char path[64];

	mkdir("conf.d", 0700);
	config_put("usher.yaml", "");
	config_put("conf.d/one.yaml", ONE_LISTENER);

	snprintf(path, sizeof(path), "%s/usher.yaml", f->folder);
	assert_int_equal(config_load_ok(f, path)->n_listeners, 1);
}

static void complaints_of_all_files_come_together_in_the_order_of_reading(void **state)
{
	mkdir("conf.d", 0700);
	config_put("usher.yaml", "workers: 0\n" ONE_LISTENER);
	config_put("conf.d/1.yaml", "[");
	config_put("conf.d/2.yaml", "listeners:\n  - {name: one, port: 0, handler: echo}\n");

	config_assert_refused(
		*state, "usher.yaml", -EINVAL,
		"usher.yaml:1:10: \"workers\" must be auto or a number from 1 to 1024, "
		"not \"0\"\n"
		"conf.d/1.yaml:2:1: not valid YAML: did not find expected node content "
		"while parsing a flow node\n"
		"conf.d/2.yaml:2:5: listener \"one\": this name is taken by the listener "
		"at usher.yaml:2:13\n");
}

static void missing_file_is_named(void **state)
{
	config_assert_refused(*state, "missing.yaml", -ENOENT,
			      "missing.yaml: No such file or directory\n");
}

static void folder_in_place_of_a_file_is_refused(void **state)
{
	mkdir("usher.yaml", 0700);
	config_assert_refused(*state, "usher.yaml", -EISDIR,
			      "usher.yaml: is a folder, not a file\n");
}

static void fifo_is_refused_without_waiting_for_a_writer(void **state)
{
	assert_int_equal(mkfifo("usher.yaml", 0600), 0);
	config_assert_refused(*state, "usher.yaml", -EBADFD, "usher.yaml: is not a regular file\n");
}

static void fifo_in_the_folder_is_refused_too(void **state)
{
	mkdir("conf.d", 0700);
	config_put("usher.yaml", ONE_LISTENER);
	assert_int_equal(mkfifo("conf.d/a.yaml", 0600), 0);
	config_assert_refused(*state, "usher.yaml", -EBADFD,
			      "conf.d/a.yaml: is not a regular file\n");
}

static void socket_is_refused(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "usher.yaml"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	config_assert_refused(*state, "usher.yaml", -ENXIO, "usher.yaml: is not a regular file\n");
}

static void file_in_place_of_the_folder_is_refused(void **state)
{
	config_put("usher.yaml", ONE_LISTENER);
	config_put("conf.d", "");
	config_assert_refused(*state, "usher.yaml", -ENOTDIR, "conf.d: Not a directory\n");
}

static void file_of_exactly_the_limit_is_read_and_one_byte_more_is_not(void **state)
{
	config_put("usher.yaml", ONE_LISTENER "# ");
	assert_int_equal(truncate("usher.yaml", CONFIG_FILE_MAX + 1), 0);
	config_assert_refused(*state, "usher.yaml", -EFBIG, "usher.yaml: is larger than 1 MiB\n");

	FILE *file = fopen("usher.yaml", "we");
	fprintf(file, "%s#", ONE_LISTENER);
	while (ftell(file) < (long)CONFIG_FILE_MAX)
		fputc('x', file);
	fclose(file);

	config_errors_done(&((struct config_fixture *)*state)->errors);
	config_load_ok(*state, "usher.yaml");
}

static void too_many_files_in_the_folder_are_refused(void **state)
{
	char name[32];

	mkdir("conf.d", 0700);
	config_put("usher.yaml", ONE_LISTENER);
	for (int i = 0; i <= CONFIG_FILES_MAX; i++) {
		snprintf(name, sizeof(name), "conf.d/%d.yaml", i);
		config_put(name, "");
	}
	config_assert_refused(*state, "usher.yaml", -E2BIG, "conf.d: holds more than 256 files\n");
}

static void nul_byte_is_refused_with_its_place(void **state)
{
	static const char text[] = "workers: 2\nuser: a\0b\n";
	struct config_fixture *f = *state;

	assert_int_equal(config_parse("nul.yaml", text, sizeof(text) - 1, &f->errors, &f->config),
			 -EINVAL);
	char *said = config_complaints(&f->errors);
	assert_string_equal(said, "nul.yaml:2:8: not valid YAML: control characters are not "
				  "allowed\n");
	free(said);
}

static void more_listeners_than_possible_are_refused(void **state)
{
	struct config_fixture *f = *state;
	FILE *file = fopen("usher.yaml", "we");

	fputs("listeners:\n", file);
	for (int i = 0; i <= CONFIG_LISTENERS_MAX; i++)
		fprintf(file, "  - {name: l%d, port: 0, handler: echo}\n", i);
	fclose(file);
	config_assert_refused(f, "usher.yaml", -EINVAL,
			      "usher.yaml:1026:5: there are more than 1024 listeners\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONFIG_TEST(folder_beside_the_file_is_read_after_it_in_the_order_of_names),
		CONFIG_TEST(hidden_and_other_files_of_the_folder_are_not_read),
		CONFIG_TEST(listeners_may_come_from_the_folder_alone),
		CONFIG_TEST(complaints_of_all_files_come_together_in_the_order_of_reading),
		CONFIG_TEST(missing_file_is_named),
		CONFIG_TEST(folder_in_place_of_a_file_is_refused),
		CONFIG_TEST(fifo_is_refused_without_waiting_for_a_writer),
		CONFIG_TEST(fifo_in_the_folder_is_refused_too),
		CONFIG_TEST(socket_is_refused),
		CONFIG_TEST(file_in_place_of_the_folder_is_refused),
		CONFIG_TEST(file_of_exactly_the_limit_is_read_and_one_byte_more_is_not),
		CONFIG_TEST(too_many_files_in_the_folder_are_refused),
		CONFIG_TEST(nul_byte_is_refused_with_its_place),
		CONFIG_TEST(more_listeners_than_possible_are_refused),
	};

	alarm(TIME_LIMIT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

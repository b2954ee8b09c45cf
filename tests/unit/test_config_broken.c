/* Each NAME.yaml in tests/config/broken has NAME.expected beside it: all that is said of it. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/config.h"

#define FOLDER     "tests/config/broken"
#define FEWEST     100 /* the folder cannot become empty unnoticed */
#define TIME_LIMIT 60

static char *read_expected(const char *yaml)
{
	char *name = NULL, *text = NULL;
	size_t room = 0;

	assert_true(asprintf(&name, "%.*s.expected", (int)(strlen(yaml) - strlen(".yaml")), yaml) >
		    0);
	FILE *file = fopen(name, "r");
	free(name);
	if (!file)
		return NULL;

	ssize_t size = getdelim(&text, &room, '\0', file);
	fclose(file);
	if (size != -1)
		return text;
	free(text);
	return NULL;
}

static char *complaints_about(const char *yaml)
{
	struct config_errors errors = {.count = 0};
	struct config *config = NULL;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	int err = config_load(yaml, &errors, &config);
	if (err != -EINVAL || config)
		fprintf(out, "config_load() returned %d\n", err);
	config_errors_print(&errors, out);
	fclose(out);

	config_errors_done(&errors);
	config_free(config);
	return text;
}

static bool is_as_expected(const char *yaml)
{
	char *expected = read_expected(yaml);
	char *complaints = complaints_about(yaml);
	bool same = expected && strcmp(expected, complaints) == 0;

	if (!same)
		print_error("%s\n--- expected\n%s--- but was\n%s---\n", yaml,
			    expected ? expected : "(no such file)\n", complaints);
	free(expected);
	free(complaints);
	return same;
}

static int is_yaml(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot && strcmp(dot, ".yaml") == 0;
}

static void every_broken_file_gets_exactly_its_complaints(void **state)
{
	struct dirent **entries = NULL;
	int wrong = 0;

	int n = scandir(".", &entries, is_yaml, alphasort);
	assert_true(n >= FEWEST);

	for (int i = 0; i < n; i++) {
		wrong += !is_as_expected(entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_broken_file_gets_exactly_its_complaints),
	};

	alarm(TIME_LIMIT);
	if (chdir(FOLDER) == -1) {
		perror(FOLDER ", seen from the top of the tree");
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "tests/helpers/config_fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

int config_setup(void **state)
{
	struct config_fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	*state = f;

	strcpy(f->folder, "/tmp/usher-config-XXXXXX");
	f->before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return f->before != -1 && mkdtemp(f->folder) && chdir(f->folder) == 0 ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *position)
{
	return remove(path);
}

int config_teardown(void **state)
{
	struct config_fixture *f = *state;

	config_errors_done(&f->errors);
	config_free(f->config);
	int err = fchdir(f->before);
	close(f->before);
	if (nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS) == -1)
		err = -1;
	free(f);
	return err;
}

void config_put(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

char *config_complaints(const struct config_errors *errors)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(config_errors_print(errors, out), 0);
	fclose(out);
	return text;
}

char *config_printed(const struct config *config)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(config_print(config, out), 0);
	fclose(out);
	return text;
}

const struct config *config_load_ok(struct config_fixture *f, const char *path)
{
	config_free(f->config);
	f->config = NULL;
	int err = config_load(path, &f->errors, &f->config);
	if (err)
		config_errors_print(&f->errors, stderr);
	assert_int_equal(err, 0);
	assert_int_equal(config_errors_count(&f->errors), 0);
	return f->config;
}

const struct config *config_parse_ok(struct config_fixture *f, const char *text)
{
	config_free(f->config);
	f->config = NULL;
	int err = config_parse("test.yaml", text, strlen(text), &f->errors, &f->config);
	if (err)
		config_errors_print(&f->errors, stderr);
	assert_int_equal(err, 0);
	return f->config;
}

const struct config_listener *config_parse_listener(struct config_fixture *f, const char *keys)
{
	char *text = NULL;

	assert_true(asprintf(&text, "listeners: [{name: one, handler: echo, %s}]", keys) > 0);
	const struct config *config = config_parse_ok(f, text);
	free(text);
	assert_int_equal(config->n_listeners, 1);
	return &config->listeners[0];
}

void config_assert_refused(struct config_fixture *f, const char *path, int err,
			   const char *expected)
{
	assert_int_equal(config_load(path, &f->errors, &f->config), err);
	assert_null(f->config);

	char *text = config_complaints(&f->errors);
	assert_string_equal(text, expected);
	free(text);
}

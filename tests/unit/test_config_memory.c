/* Memory runs out at each of the places that ask for some. wrap: malloc calloc reallocarray strdup
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/config_fixture.h"

#define TIME_LIMIT 60
#define FEWEST     10 /* places, or the wrapping has come loose */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_reallocarray(void *pointer, size_t n, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_reallocarray(void *pointer, size_t n, size_t size);
char *__wrap_strdup(const char *text);

static long left = -1; /* allocations until one fails; -1: none does */

static bool runs_out(void)
{
	if (left < 0)
		return false;
	return left-- == 0;
}

void *__wrap_malloc(size_t size)
{
	return runs_out() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return runs_out() ? NULL : __real_calloc(n, size);
}

void *__wrap_reallocarray(void *pointer, size_t n, size_t size)
{
	return runs_out() ? NULL : __real_reallocarray(pointer, n, size);
}

char *__wrap_strdup(const char *text)
{
	return runs_out() ? NULL : __real_strdup(text);
}

/* Loads once for each allocation, which then fails, and once without a failure. Returns what that
 * last time returned. The number of complaints is the same each time. */
static int load_at_each_place(const char *path, size_t complaints)
{
	for (long n = 0;; n++) {
		struct config_errors errors = {.count = 0};
		struct config *config = NULL;

		left = n;
		int err = config_load(path, &errors, &config);
		bool failed = left == -1;
		left = -1;

		size_t said = config_errors_count(&errors);
		config_errors_done(&errors);
		config_free(config);
		if (!failed) {
			assert_true(n >= FEWEST);
			return err;
		}
		assert_true(err == -ENOMEM || (err == -EINVAL && said == complaints));
	}
}

static void every_lack_of_memory_is_reported_and_leaks_nothing(void **state)
{
	mkdir("conf.d", 0700);
	config_put("usher.yaml", "user: root\ncontrol: /run/x.sock\n" ONE_LISTENER);
	config_put("conf.d/a.yaml", "listeners:\n"
				    "  - {name: a, host: a, port: 1, handler: {reply: text}}\n"
				    "  - {name: b, path: /b, handler: echo}\n"
				    "  - {name: c, systemd: c, handler: echo}\n");
	assert_int_equal(load_at_each_place("usher.yaml", 0), 0);
}

static void no_complaint_is_forgotten_for_lack_of_memory(void **state)
{
	config_put("usher.yaml",
		   "workers: 0\nworkers: 1\nuserr: x\n" ONE_LISTENER "listeners: 1\n");
	assert_int_equal(load_at_each_place("usher.yaml", 4), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CONFIG_TEST(every_lack_of_memory_is_reported_and_leaks_nothing),
		CONFIG_TEST(no_complaint_is_forgotten_for_lack_of_memory),
	};

	alarm(TIME_LIMIT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

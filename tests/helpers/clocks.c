#include "tests/helpers/clocks.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/usher.h"

void clocks_open(struct clocks *c, struct usher *u)
{
	AUTO_CLOSE int fd = open(usher_path(u, "clocks"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(*c->page)), 0);
	c->page = mmap(NULL, sizeof(*c->page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(c->page != MAP_FAILED);

	snprintf(c->variable, sizeof(c->variable), CLOCKS_VARIABLE "=%s", usher_path(u, "clocks"));
	c->env[0] = c->variable;
	c->env[1] = NULL;
	c->args[0] = "--worker";
	c->args[1] = built("usher-worker", c->worker);
	c->args[2] = NULL;
	u->program = "tests/helpers/fake_usherd";
	u->env = c->env;
	u->args = c->args;
}

void clocks_done(struct clocks *c)
{
	munmap(c->page, sizeof(*c->page));
}

void clocks_step(struct clocks *c, int64_t wall_s, int64_t monotonic_s)
{
	c->page->wall += wall_s;
	c->page->monotonic += monotonic_s;
}

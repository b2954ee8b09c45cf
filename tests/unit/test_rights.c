/* With borrowed rights the kernel decides as for that user, and afterwards all is as it was.
 *
 * wrap: setfsuid syscall */
#include "common/cluster/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"

static bool syscalls_are_forbidden; /* that change something */

int __real_setfsuid(uid_t uid);
int __wrap_setfsuid(uid_t uid);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, long a, long b);

int __wrap_setfsuid(uid_t uid)
{
	return __real_setfsuid(syscalls_are_forbidden ? (uid_t)-1 : uid);
}

long __wrap_syscall(long number, long a, long b)
{
	if (!syscalls_are_forbidden || number == SYS_capget)
		return __real_syscall(number, a, b);
	errno = EPERM;
	return -1;
}

struct place {
	char folder[32];
	char path[64];
	struct rights rights; /* of nobody */
};

static int setup(void **state)
{
	const struct passwd *nobody = getpwnam("nobody");
	struct place *p = calloc(1, sizeof(*p));

	if (!p || !nobody)
		return -1;
	strcpy(p->folder, "/tmp/rights-XXXXXX");
	if (!mkdtemp(p->folder))
		return -1;
	snprintf(p->path, sizeof(p->path), "%s/file", p->folder);
	*state = p;
	return rights_of_user("nobody", nobody->pw_uid, nobody->pw_gid, &p->rights);
}

static int teardown(void **state)
{
	struct place *p = *state;

	unlink(p->path);
	rmdir(p->folder);
	rights_done(&p->rights);
	free(p);
	return 0;
}

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

/* 0 or -errno. */
static int make_file(const struct place *p)
{
	AUTO_CLOSE int fd = open(p->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd == -1 ? -errno : 0;
}

static int bind_low_port(void)
{
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(1)};

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return 0;
	return -errno;
}

static void files_are_that_users(void **state)
{
	struct place *p = *state;
	struct rights_saved saved;
	struct stat st;

	need_root();
	assert_int_equal(rights_borrow(&p->rights, &saved), 0);
	int closed = make_file(p);
	rights_return(&p->rights, &saved);
	assert_int_equal(closed, -EACCES);

	assert_int_equal(chmod(p->folder, 0777), 0);
	assert_int_equal(rights_borrow(&p->rights, &saved), 0);
	int open = make_file(p);
	rights_return(&p->rights, &saved);
	assert_int_equal(open, 0);
	assert_int_equal(stat(p->path, &st), 0);
	assert_int_equal(st.st_uid, p->rights.uid);
	assert_int_equal(st.st_gid, p->rights.gid);
}

static void a_group_of_ours_is_not_that_users(void **state)
{
	struct place *p = *state;
	struct rights_saved saved;
	gid_t before[2] = {4711, 0}, after[4];

	need_root();
	assert_int_equal(setgroups(2, before), 0);
	assert_int_equal(chown(p->folder, 0, 4711), 0);
	assert_int_equal(chmod(p->folder, 0770), 0);
	assert_int_equal(rights_borrow(&p->rights, &saved), 0);
	int made = make_file(p);
	rights_return(&p->rights, &saved);
	assert_int_equal(made, -EACCES);
	assert_int_equal(getgroups(4, after), 2);
	assert_true(after[0] == 4711 || after[1] == 4711);
	assert_int_equal(setgroups(0, NULL), 0);
}

static void ports_are_those_without_capabilities(void **state)
{
	const struct rights none = {.is_other = false};
	struct place *p = *state;
	struct rights_saved saved;

	need_root();
	assert_int_equal(rights_borrow(&p->rights, &saved), 0);
	int by_nobody = bind_low_port();
	rights_return(&p->rights, &saved);
	assert_int_equal(by_nobody, -EACCES);

	assert_int_equal(rights_borrow(&none, &saved), 0);
	int by_us = bind_low_port();
	rights_return(&none, &saved);
	assert_int_equal(by_us, -EACCES);
}

static void roots_own_are_roots(void **state)
{
	struct place *p = *state;
	struct rights root;
	struct rights_saved saved;

	need_root();
	assert_int_equal(rights_of_user("root", 0, 0, &root), 0);
	assert_int_equal(rights_borrow(&root, &saved), 0);
	int made = make_file(p);
	int bound = bind_low_port();
	rights_return(&root, &saved);
	rights_done(&root);
	assert_int_equal(made, 0);
	assert_int_not_equal(bound, -EACCES);
}

static void get_capabilities(struct __user_cap_data_struct *ret)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	assert_int_equal(syscall(SYS_capget, &header, ret), 0);
}

static void afterwards_all_is_as_it_was(void **state)
{
	struct __user_cap_data_struct before[_LINUX_CAPABILITY_U32S_3] = {0};
	struct __user_cap_data_struct after[_LINUX_CAPABILITY_U32S_3] = {0};
	struct place *p = *state;
	const struct rights none = {.is_other = false};
	const struct rights *rights = geteuid() == 0 ? &p->rights : &none;
	struct rights_saved saved;

	get_capabilities(before);
	assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
	assert_int_equal(rights_borrow(rights, &saved), 0);
	rights_return(rights, &saved);
	get_capabilities(after);
	assert_memory_equal(before, after, sizeof(before));
	assert_int_equal((uid_t)setfsuid((uid_t)-1), geteuid());
	assert_int_equal((gid_t)setfsgid((gid_t)-1), getegid());
	assert_int_equal(prctl(PR_GET_DUMPABLE), 1);
	assert_int_equal(make_file(p), 0);
}

/* What forbids it may be a filter of system calls, as systemd installs. */
static void a_filter_forbids_it_and_ends_nobody(void **state)
{
	struct place *p = *state;
	const struct rights none = {.is_other = false};
	struct rights_saved saved;

	syscalls_are_forbidden = true;
	assert_int_equal(rights_borrow(&none, &saved), -EPERM);
	if (geteuid() == 0)
		assert_int_equal(rights_borrow(&p->rights, &saved), -EPERM);
	syscalls_are_forbidden = false;
	assert_int_equal(make_file(p), 0);
}

static void without_rights_nothing_changes(void **state)
{
	struct place *p = *state;
	struct rights_saved saved;

	assert_int_equal(rights_borrow(NULL, &saved), 0);
	assert_int_equal(make_file(p), 0);
	rights_return(NULL, &saved);
}

#define RIGHTS_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIGHTS_TEST(files_are_that_users),
		RIGHTS_TEST(a_group_of_ours_is_not_that_users),
		RIGHTS_TEST(ports_are_those_without_capabilities),
		RIGHTS_TEST(roots_own_are_roots),
		RIGHTS_TEST(afterwards_all_is_as_it_was),
		RIGHTS_TEST(a_filter_forbids_it_and_ends_nobody),
		RIGHTS_TEST(without_rights_nothing_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* wrap: lchown */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/bind.h"

static bool lchown_is_forbidden; /* as a filter of system calls does */

int __real_lchown(const char *path, uid_t uid, gid_t gid);
int __wrap_lchown(const char *path, uid_t uid, gid_t gid);

int __wrap_lchown(const char *path, uid_t uid, gid_t gid)
{
	if (!lchown_is_forbidden)
		return __real_lchown(path, uid, gid);
	errno = EPERM;
	return -1;
}

struct place {
	char directory[32];
	char path[64];
};

static int make_place(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	if (!place)
		return -1;
	strcpy(place->directory, "/tmp/bind-XXXXXX");
	if (!mkdtemp(place->directory))
		return -1;
	snprintf(place->path, sizeof(place->path), "%s/socket", place->directory);
	*state = place;
	return 0;
}

static int remove_place(void **state)
{
	struct place *place = *state;

	unlink(place->path);
	rmdir(place->directory);
	free(place);
	return 0;
}

static int open_at(const struct bind_options *options, struct bound *bound)
{
	const char *syscall_name = NULL;
	int r = bind_open(options, bound, &syscall_name);

	if (r < 0)
		assert_non_null(syscall_name);
	return r;
}

static int connect_to(const struct addr *addr)
{
	AUTO_CLOSE int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	if (connect(fd, &addr->sa, addr->len) == -1 && errno != EINPROGRESS)
		return -errno;
	return 0;
}

static int flag(int fd, int level, int name)
{
	int value = -1;
	socklen_t size = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
	return value;
}

/* SL-5 */
static void without_a_host_both_families_are_served(void **state)
{
	struct bind_options options = {.has_port = true};
	struct bound bound;
	struct addr v4, v6;

	assert_int_equal(open_at(&options, &bound), 0);
	assert_int_equal(addr_family(&bound.addr), 6);
	assert_int_not_equal(addr_port(&bound.addr), 0);
	assert_int_equal(flag(bound.fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
	addr_parse("127.0.0.1", addr_port(&bound.addr), &v4);
	addr_parse("::1", addr_port(&bound.addr), &v6);
	assert_int_equal(connect_to(&v4), 0);
	assert_int_equal(connect_to(&v6), 0);
	bound_close(&bound);
}

/* SL-5: in use on one family is in use, and no reason to take the other. */
static void without_a_host_a_busy_port_is_busy(void **state)
{
	struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	struct bound first, second;

	assert_int_equal(open_at(&options, &first), 0);
	options.host = NULL;
	options.port = addr_port(&first.addr);
	assert_int_equal(open_at(&options, &second), -EADDRINUSE);
	bound_close(&first);

	options = (struct bind_options){.has_port = true, .host = "::1"};
	assert_int_equal(open_at(&options, &first), 0);
	options.host = NULL;
	options.port = addr_port(&first.addr);
	assert_int_equal(open_at(&options, &second), -EADDRINUSE);
	bound_close(&first);
}

/* DF-9, SL-14 */
static void ipv6_only_is_honoured_without_a_host(void **state)
{
	struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	struct bound v4, v6;

	assert_int_equal(open_at(&options, &v4), 0);
	options = (struct bind_options){
		.has_port = true, .port = addr_port(&v4.addr), .ipv6_only = true};
	assert_int_equal(open_at(&options, &v6), 0);
	assert_int_equal(flag(v6.fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	bound_close(&v4);
	bound_close(&v6);
}

static void a_name_is_resolved(void **state)
{
	struct bind_options options = {.has_port = true, .host = "localhost"};
	struct bound bound;

	assert_int_equal(open_at(&options, &bound), 0);
	assert_int_not_equal(addr_port(&bound.addr), 0);
	bound_close(&bound);
	options.host = "no.such.name.invalid";
	assert_true(open_at(&options, &bound) < 0);
}

static void descriptors_do_not_block_and_close_on_exec(void **state)
{
	struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	struct bound bound;

	assert_int_equal(open_at(&options, &bound), 0);
	assert_true(fcntl(bound.fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(bound.fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(flag(bound.fd, SOL_SOCKET, SO_REUSEADDR), 1);
	assert_int_equal(flag(bound.fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
	bound_close(&bound);
	assert_int_equal(bound.fd, -1);
	bound_close(&bound);
}

static void reuse_port_lets_two_listen(void **state)
{
	struct bind_options options = {.has_port = true, .host = "127.0.0.1", .reuse_port = true};
	struct bound first, second;

	assert_int_equal(open_at(&options, &first), 0);
	options.port = addr_port(&first.addr);
	assert_int_equal(open_at(&options, &second), 0);
	bound_close(&first);
	bound_close(&second);
}

/* SC-6 */
static void the_file_goes_with_the_socket(void **state)
{
	struct place *place = *state;
	struct bind_options options = {.path = place->path};
	struct bound bound;

	assert_int_equal(open_at(&options, &bound), 0);
	assert_int_equal(access(place->path, F_OK), 0);
	bound_close(&bound);
	assert_int_equal(access(place->path, F_OK), -1);
}

/* Who forks a child for each client has it close the server there. */
static void the_file_stays_when_a_child_closes_its_copy(void **state)
{
	struct place *place = *state;
	struct bind_options options = {.path = place->path};
	struct bound bound;
	int status;
	pid_t pid;

	assert_int_equal(open_at(&options, &bound), 0);
	pid = fork();
	if (pid == 0) {
		bound_close(&bound);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(access(place->path, F_OK), 0);
	bound_close(&bound);
	assert_int_equal(access(place->path, F_OK), -1);
}

/* SC-6 */
static void the_file_of_somebody_else_stays(void **state)
{
	struct place *place = *state;
	struct bind_options options = {.path = place->path};
	struct bound first, second;

	assert_int_equal(open_at(&options, &first), 0);
	assert_int_equal(unlink(place->path), 0);
	assert_int_equal(open_at(&options, &second), 0);
	bound_close(&first);
	assert_int_equal(access(place->path, F_OK), 0);
	bound_close(&second);
}

/* SC-6 */
static void a_relative_path_is_found_again_from_elsewhere(void **state)
{
	struct place *place = *state;
	struct bind_options options = {.path = "socket"};
	AUTO_CLOSE int home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct bound bound;

	assert_int_equal(chdir(place->directory), 0);
	assert_int_equal(open_at(&options, &bound), 0);
	assert_string_equal(bound.path, place->path);
	assert_int_equal(fchdir(home), 0);
	bound_close(&bound);
	assert_int_equal(access(place->path, F_OK), -1);
}

static void a_detached_file_stays(void **state)
{
	struct place *place = *state;
	struct bind_options options = {.path = place->path};
	struct bound bound;

	assert_int_equal(open_at(&options, &bound), 0);
	bound_detach(&bound);
	bound_close(&bound);
	assert_int_equal(access(place->path, F_OK), 0);
}

/* SL-16 */
/* SL-6 */
static void a_link_local_address_is_the_last_choice(void **state)
{
	struct addr addresses[3];

	assert_int_equal(addr_parse("fe80::1%lo", 80, &addresses[0]), 0);
	assert_int_equal(addr_parse("::1", 80, &addresses[1]), 0);
	assert_int_equal(addr_parse("127.0.0.1", 80, &addresses[2]), 0);
	assert_ptr_equal(bind_choose(addresses, 3), &addresses[1]);
	assert_ptr_equal(bind_choose(addresses, 1), &addresses[0]);
}

/* LS-8: whoever gets the socket listens on it, and is then whom a client finds there. */
static void a_socket_may_be_bound_and_listen_later(void **state)
{
	struct place *place = *state;
	const struct bind_options options = {.path = place->path, .only_bind = true};
	struct bound bound, again;
	const char *syscall_name;

	assert_int_equal(open_at(&options, &bound), 0);
	assert_string_equal(bound.addr.un.sun_path, place->path);
	assert_int_equal(connect_to(&bound.addr), -ECONNREFUSED);
	assert_int_equal(bind_adopt(bound.fd, 0, &again, &syscall_name), 0);
	assert_int_equal(connect_to(&bound.addr), 0);
	bound_close(&bound);
	assert_int_equal(access(place->path, F_OK), -1);
}

static void an_existing_file_is_in_use_whatever_it_is(void **state)
{
	struct place *place = *state;
	struct bind_options options = {.path = place->path};
	struct bound bound;

	close(open(place->path, O_CREAT | O_CLOEXEC, 0600));
	assert_int_equal(open_at(&options, &bound), -EADDRINUSE);
	options.replace_stale = true;
	assert_int_equal(open_at(&options, &bound), -EADDRINUSE);
	assert_int_equal(access(place->path, F_OK), 0);

	options.path = "/nowhere/at/all";
	assert_int_equal(open_at(&options, &bound), -ENOENT);
}

/* SL-16: a stale one is in use, too, unless the caller says otherwise. */
static void a_stale_socket_is_replaced_only_on_demand(void **state)
{
	struct place *place = *state;
	struct bind_options options = {.path = place->path};
	struct bound bound;

	assert_int_equal(open_at(&options, &bound), 0);
	bound_detach(&bound);
	bound_close(&bound);
	assert_int_equal(open_at(&options, &bound), -EADDRINUSE);
	options.replace_stale = true;
	assert_int_equal(open_at(&options, &bound), 0);
	bound_close(&bound);
}

static void a_live_socket_is_never_replaced(void **state)
{
	struct place *place = *state;
	struct bind_options options = {.path = place->path, .replace_stale = true, .backlog = 1};
	struct bound first, second;
	int error;

	assert_int_equal(open_at(&options, &first), 0);
	assert_int_equal(open_at(&options, &second), -EADDRINUSE);
	/* The question has left nothing in its queue. */
	assert_int_equal(poll(&(struct pollfd){first.fd, POLLIN, 0}, 1, 0), 0);
	do {
		error = connect_to(&first.addr);
	} while (error == 0);
	assert_int_equal(error, -EAGAIN);
	assert_int_equal(open_at(&options, &second), -EADDRINUSE);
	bound_close(&first);
}

/* SL-15, DF-8 */
static void the_mode_is_as_asked(void **state)
{
	struct place *place = *state;
	struct bind_options options = {.path = place->path, .readable_all = true};
	mode_t before = umask(077);
	struct stat info;
	struct bound bound;

	assert_int_equal(open_at(&options, &bound), 0);
	assert_int_equal(stat(place->path, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0744);
	bound_close(&bound);

	options.writable_all = true;
	assert_int_equal(open_at(&options, &bound), 0);
	assert_int_equal(stat(place->path, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0766);
	bound_close(&bound);

	options = (struct bind_options){.path = place->path, .set_mode = true, .mode = 0660};
	assert_int_equal(open_at(&options, &bound), 0);
	assert_int_equal(stat(place->path, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0660);
	bound_close(&bound);
	umask(before);
}

/* SL-15 */
static void abstract_names_have_no_file_and_no_mode(void **state)
{
	struct bind_options options = {.path = "@usher-test-bind"};
	struct bound bound, second;

	assert_int_equal(open_at(&options, &bound), 0);
	assert_null(bound.path);
	assert_true(addr_is_abstract(&bound.addr));
	assert_int_equal(connect_to(&bound.addr), 0);
	assert_int_equal(open_at(&options, &second), -EADDRINUSE);
	bound_close(&bound);
	options.readable_all = true;
	assert_int_equal(open_at(&options, &bound), -EINVAL);
}

/* The owner can be changed by root only. */
static void the_owner_is_as_asked(void **state)
{
	struct place *place = *state;
	struct bind_options options = {
		.path = place->path, .set_owner = true, .uid = 12345, .gid = (gid_t)-1};
	struct stat info;
	struct bound bound;

	if (geteuid() != 0) {
		assert_int_equal(open_at(&options, &bound), -EPERM);
		assert_int_equal(access(place->path, F_OK), -1);
		return;
	}
	assert_int_equal(open_at(&options, &bound), 0);
	assert_int_equal(stat(place->path, &info), 0);
	assert_int_equal(info.st_uid, 12345);
	assert_int_equal(info.st_gid, getegid());
	bound_close(&bound);
}

static void an_owner_that_stays_takes_no_right(void **state)
{
	struct place *place = *state;
	struct bind_options options = {
		.path = place->path, .set_owner = true, .uid = (uid_t)-1, .gid = (gid_t)-1};
	struct bound bound;

	lchown_is_forbidden = true;
	assert_int_equal(open_at(&options, &bound), 0);
	bound_close(&bound);
	options.uid = 12345;
	assert_int_equal(open_at(&options, &bound), -EPERM);
	lchown_is_forbidden = false;
}

static void only_stream_sockets_that_listen_pass_the_check(void **state)
{
	AUTO_CLOSE int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	AUTO_CLOSE int stream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind_check_listening(-1), -EBADF);
	assert_int_equal(bind_check_listening(file), -ENOTSOCK);
	assert_int_equal(bind_check_listening(datagram), -ESOCKTNOSUPPORT);
	assert_int_equal(bind_check_listening(stream), -EINVAL);
	assert_int_equal(listen(stream, 1), 0);
	assert_int_equal(bind_check_listening(stream), 0);
}

/* SL-13 */
static void only_stream_sockets_are_adopted(void **state)
{
	AUTO_CLOSE int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int stream = socket(AF_INET, SOCK_STREAM, 0);
	const char *syscall_name;
	struct bound bound;

	assert_int_equal(bind_adopt(file, 0, &bound, &syscall_name), -EINVAL);
	assert_int_equal(bind_adopt(datagram, 0, &bound, &syscall_name), -EINVAL);
	assert_int_equal(bind_adopt(stream, 0, &bound, &syscall_name), 0);
	assert_true(fcntl(bound.fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(bound.fd, F_GETFD) & FD_CLOEXEC);
	bound_close(&bound);
}

int main(void)
{
#define with_place(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_host_both_families_are_served),
		cmocka_unit_test(without_a_host_a_busy_port_is_busy),
		cmocka_unit_test(ipv6_only_is_honoured_without_a_host),
		cmocka_unit_test(a_name_is_resolved),
		cmocka_unit_test(descriptors_do_not_block_and_close_on_exec),
		cmocka_unit_test(reuse_port_lets_two_listen),
		with_place(the_file_goes_with_the_socket),
		with_place(the_file_stays_when_a_child_closes_its_copy),
		with_place(the_file_of_somebody_else_stays),
		with_place(a_relative_path_is_found_again_from_elsewhere),
		with_place(a_detached_file_stays),
		with_place(an_existing_file_is_in_use_whatever_it_is),
		with_place(a_stale_socket_is_replaced_only_on_demand),
		with_place(a_live_socket_is_never_replaced),
		with_place(the_mode_is_as_asked),
		with_place(the_owner_is_as_asked),
		with_place(an_owner_that_stays_takes_no_right),
		cmocka_unit_test(abstract_names_have_no_file_and_no_mode),
		cmocka_unit_test(only_stream_sockets_that_listen_pass_the_check),
		cmocka_unit_test(only_stream_sockets_are_adopted),
		cmocka_unit_test(a_link_local_address_is_the_last_choice),
		with_place(a_socket_may_be_bound_and_listen_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Clients of a listener: plain blocking sockets with a time limit on every call.
 *
 * Owns:   the caller owns the descriptors (close-on-exec).
 * Errors: functions named try_ return -errno; the others fail the test through cmocka. */
#ifndef USHER_TESTS_HELPERS_CLIENTS_H
#define USHER_TESTS_HELPERS_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* host is an IPv4 or IPv6 address. */
int try_connect_tcp(const char *host, int port);
int connect_tcp(const char *host, int port);

/* The same to 127.0.0.1 from an address of 127.0.0.0/8, as a number. */
int connect_tcp_from(uint32_t address, int port);

/* Whether nobody listens on 127.0.0.1:port. */
bool tcp_is_refused(int port);
/* The same of any host, which is to be so. */
void expect_tcp_refused(const char *host, int port);

/* A port of 127.0.0.1 on which nobody listens now. */
int free_tcp_port(void);

/* A path, or "@name" for an abstract name. */
int try_connect_unix(const char *path);
int connect_unix(const char *path);

void client_send(int fd, const char *text);
void client_expect(int fd, const char *text);
/* The other end has closed: end of file or a reset, and no byte before. */
void client_expect_end(int fd);
/* Waits until all that was sent, our end as well, is ready to be read at the other end. */
void client_await_arrival(int fd);
/* Ends our side and expects the end of the other. */
void client_leave(int fd);
/* Closes a client whose end has arrived. */
void client_hang_up(int fd);
/* Sends a text that no other call has sent, and expects it back. */
void client_expect_echo(int fd);

/* Many clients of one address, and the way to be rid of them. */
struct clients {
	int *fds;
	size_t count;
};

/* Adds count connections to 127.0.0.1:port. */
void clients_connect(struct clients *c, int port, size_t count);
/* The same, each from an address of its own. */
void clients_connect_apart(struct clients *c, int port, size_t count);
void clients_expect_echo(const struct clients *c);
/* Closes the last count of them. */
void clients_close(struct clients *c, size_t count);
/* How many of them the other end has closed; takes no data from the others. */
size_t clients_ended(const struct clients *c);
/* Waits until so many have: what is closed reaches the client a moment later. */
void clients_await_ends(const struct clients *c, size_t count);
/* Closes those. */
void clients_forget_ended(struct clients *c);
/* Resets all of them: so many that the ports they had must be free at once. */
void clients_reset(struct clients *c);
void clients_done(struct clients *c);

#endif

#include "common/ipc/claims.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/ipc/messages.h"
#include "common/macros.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

struct claims_page {
	_Atomic uint64_t state; /* taken above, withdrawn below */
	_Atomic uint32_t let_go;
	_Atomic uint32_t bell;
	_Atomic uint8_t reasons[IPC_IN_FLIGHT_MAX]; /* by the number's remainder */
	_Atomic uint32_t ended[CLAIMS_TALLIES];
};

static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2 &&
		      ATOMIC_CHAR_LOCK_FREE == 2,
	      "two processes cannot share a lock");
static_assert(sizeof(struct claims_page) <= 4096, "a worker costs more than a page");
static_assert((UINT32_MAX + UINT64_C(1)) % IPC_IN_FLIGHT_MAX == 0, "numbers wrap around");

static uint64_t pack(struct claims_state state)
{
	return (uint64_t)state.taken << 32 | state.withdrawn;
}

static struct claims_state unpack(uint64_t word)
{
	return (struct claims_state){.taken = (uint32_t)(word >> 32), .withdrawn = (uint32_t)word};
}

static int map(struct claims *claims, int fd)
{
	void *page = mmap(NULL, sizeof(*claims->page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (page == MAP_FAILED)
		return -errno;
	claims->page = page;
	return 0;
}

/* Systems that forbid executable memory want to hear that this is none; kernels before 6.3 do not
 * know the flag. */
static int open_memory(void)
{
	const unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("usher-claims", flags | MFD_NOEXEC_SEAL);

	return fd == -1 && errno == EINVAL ? memfd_create("usher-claims", flags) : fd;
}

int claims_new(struct claims *claims, int *ret_fd)
{
	AUTO_CLOSE int fd = open_memory();
	int error;

	claims->page = NULL;
	if (fd == -1 || ftruncate(fd, sizeof(*claims->page)) == -1 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == -1)
		return -errno;
	error = map(claims, fd);
	if (error < 0)
		return error;
	*ret_fd = take_fd(&fd);
	return 0;
}

int claims_open(struct claims *claims, int fd)
{
	struct stat st;

	claims->page = NULL;
	if (fstat(fd, &st) == -1)
		return -errno;
	/* What lies behind the end of a file cannot be touched. */
	if (st.st_size < (off_t)sizeof(*claims->page))
		return -EPROTO;
	return map(claims, fd);
}

void claims_close(struct claims *claims)
{
	if (claims->page)
		munmap(claims->page, sizeof(*claims->page));
	claims->page = NULL;
}

/* --- the supervisor's ------------------------------------------------------------------------- */

struct claims_state claims_read(const struct claims *claims)
{
	return unpack(atomic_load(&claims->page->state));
}

bool claims_withdraw(struct claims *claims, struct claims_state *state, uint32_t number)
{
	uint64_t word = pack(*state);
	struct claims_state wanted = {.taken = state->taken, .withdrawn = number};
	bool done = atomic_compare_exchange_strong(&claims->page->state, &word, pack(wanted));

	*state = done ? wanted : unpack(word);
	return done;
}

int claims_reason(const struct claims *claims, uint32_t number)
{
	return atomic_load_explicit(&claims->page->reasons[number % IPC_IN_FLIGHT_MAX],
				    memory_order_relaxed);
}

void claims_let_go(struct claims *claims, uint32_t number)
{
	atomic_store_explicit(&claims->page->let_go, number, memory_order_release);
}

uint32_t claims_ended(const struct claims *claims, uint32_t tally)
{
	assert(tally > 0 && tally <= CLAIMS_TALLIES);
	return atomic_load_explicit(&claims->page->ended[tally - 1], memory_order_relaxed);
}

/* In one order with claims_take(): either that sees the bell, or what it took is seen after. */
void claims_want_bell(struct claims *claims, bool wanted)
{
	atomic_store(&claims->page->bell, wanted);
}

/* --- the worker's ----------------------------------------------------------------------------- */

void claims_set_reason(struct claims *claims, uint32_t number, int reason)
{
	atomic_store_explicit(&claims->page->reasons[number % IPC_IN_FLIGHT_MAX], (uint8_t)reason,
			      memory_order_relaxed);
}

uint32_t claims_take(struct claims *claims, uint32_t number)
{
	uint64_t word = atomic_load(&claims->page->state);
	struct claims_state before, after;

	do {
		before = unpack(word);
		after.taken = number;
		after.withdrawn = claims_is_before(before.withdrawn, number) ? number
									     : before.withdrawn;
	} while (!atomic_compare_exchange_weak(&claims->page->state, &word, pack(after)));
	return before.withdrawn;
}

void claims_count_end(struct claims *claims, uint32_t tally)
{
	if (tally > 0 && tally <= CLAIMS_TALLIES)
		atomic_fetch_add_explicit(&claims->page->ended[tally - 1], 1, memory_order_relaxed);
}

bool claims_wants_bell(const struct claims *claims)
{
	return atomic_load(&claims->page->bell);
}

uint32_t claims_let_go_of(const struct claims *claims)
{
	return atomic_load_explicit(&claims->page->let_go, memory_order_acquire);
}

bool claims_is_held(const struct claims *claims, uint32_t number)
{
	return claims_is_before(claims_let_go_of(claims), number);
}

#include "tests/load/residence.h"

#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

/* One byte of each page. AddressSanitizer has forbidden ranges among the globals. */
__attribute__((no_sanitize("address"))) static void read_pages(const volatile char *start,
							       size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (size_t at = 0; at < size; at += page)
		(void)start[at];
	if (size > 0)
		(void)start[size - 1];
}

static int read_object(struct dl_phdr_info *object, size_t size, void *ctx)
{
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];

		/* What follows the file's part is memory of the process's own.
		 * NOLINTNEXTLINE(performance-no-int-to-ptr): the linker gives numbers. */
		const char *start = (const char *)(object->dlpi_addr + part->p_vaddr);

		if (part->p_type == PT_LOAD && part->p_flags & PF_R)
			read_pages(start, part->p_filesz);
	}
	return 0;
}

void residence_take(void)
{
	dl_iterate_phdr(read_object, NULL);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * peek FILE OFFSET: prints 4 bytes of a PCI resource, in hex.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long page = sysconf(_SC_PAGESIZE);
	uint32_t *words;
	unsigned long offset;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: %s FILE OFFSET\n", argv[0]);
		return 2;
	}
	offset = strtoul(argv[2], NULL, 0);
	fd = open(argv[1], O_RDONLY);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	words = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, offset & -page);
	if (words == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	printf("0x%08x\n", __atomic_load_n(&words[offset % page / 4], __ATOMIC_RELAXED));
	return 0;
}

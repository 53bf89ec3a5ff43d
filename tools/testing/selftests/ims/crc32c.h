/* SPDX-License-Identifier: GPL-2.0 */
/* CRC-32C as the CPU computes it, to compare with the device's. */
#ifndef CRC32C_H
#define CRC32C_H

#include <stddef.h>
#include <stdint.h>

#define CRC32C_POLYNOMIAL 0x82f63b78U

/* Multiplies by x. The highest bit is the coefficient of x^0. */
static inline uint32_t crc32c_shift(uint32_t crc)
{
	return crc >> 1 ^ (crc & 1 ? CRC32C_POLYNOMIAL : 0);
}

/* Continues the CRC of the bytes before, or starts with 0. */
static inline uint32_t crc32c(uint32_t crc, const void *data, size_t length)
{
	static uint32_t table[256];
	const uint8_t *byte = data;

	for (uint32_t i = 0; !table[255] && i < 256; i++) {
		uint32_t entry = i;

		for (int bit = 0; bit < 8; bit++)
			entry = crc32c_shift(entry);
		table[i] = entry;
	}
	for (crc = ~crc; length; length--)
		crc = crc >> 8 ^ table[(crc ^ *byte++) & 0xff];
	return ~crc;
}

static inline uint32_t crc32c_multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (; a; a <<= 1, b = crc32c_shift(b))
		if (a >> 31)
			product ^= b;
	return product;
}

/* The CRC of two ranges from those of each; the second one has @length bytes. */
static inline uint32_t crc32c_combine(uint32_t first, uint32_t second, size_t length)
{
	uint32_t power = 1U << 23; /* x^8 */

	for (; length; length >>= 1, power = crc32c_multiply(power, power))
		if (length & 1)
			first = crc32c_multiply(first, power);
	return first ^ second;
}

#endif /* CRC32C_H */

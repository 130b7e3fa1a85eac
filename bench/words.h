/* An invented byte-level BPE vocabulary of any size: 256 bytes, then all words of two, three and four small
 * letters, each made by one merge of the word without its last letter and that letter; the last id is the end
 * token. */
#pragma once

enum { WORDS_BYTES = 256, WORDS_TEXT = 8, WORDS_MAX = WORDS_BYTES + 26 * 26 * (1 + 26 + 26 * 26) + 1 };
#define WORDS_END "<|endoftext|>"

/* Token as byte-level BPE writes it, in UTF-8; of ids below end. */
void words_token(int id, char out[WORDS_TEXT]);
/* Is the token made by a merge? If so, its two sides. */
int words_merge(int id, char left[WORDS_TEXT], char right[WORDS_TEXT]);

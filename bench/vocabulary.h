/* An invented byte-level BPE vocabulary of any size: 256 bytes, then all words of two, three and four small
 * letters, each made by one merge of the word without its last letter and that letter; the last id is the end
 * token. */
#pragma once

enum {
    VOCABULARY_BYTES = 256,
    VOCABULARY_TEXT = 8,
    VOCABULARY_MAX = VOCABULARY_BYTES + 26 * 26 * (1 + 26 + 26 * 26) + 1
};
#define VOCABULARY_END "<|endoftext|>"

/* Token as byte-level BPE writes it, in UTF-8; of ids below end. */
void vocabulary_token(int id, char out[VOCABULARY_TEXT]);
/* Is the token made by a merge? If so, its two sides. */
int vocabulary_merge(int id, char left[VOCABULARY_TEXT], char right[VOCABULARY_TEXT]);

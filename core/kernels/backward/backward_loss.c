#include "core/kernels/backward.h"

#include <math.h>

#include "core/kernels/cpu.h"
#include "core/kernels/vector.h"

double backward_cross_entropy(float *logits, int vocab, int target, float weight, bool *correct)
{
    const struct backward_kernels *k = cpu_kernels()->backward;
    int top = vector_argmax(logits, vocab);
    float largest = logits[top];
    double found = (double)logits[target];
    double sum = k->exponentials(logits, vocab, largest, weight != 0);
    *correct = top == target;
    if (weight != 0) {
        k->scale(logits, (float)((double)weight / sum), vocab);
        logits[target] -= weight;
    }
    return log(sum) + (double)largest - found;
}

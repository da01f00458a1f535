"""Who reads media. A processor is given a descriptor, a prompt and run settings; it gives back segments.

`technical` measures with FFmpeg alone and needs no model and no service. Its way, from outside to inside:

    technical         the processor: what may be asked of it, what its answers and its failures mean
    isolation         one confined process per item: pipes, limits from outside, nothing left behind
    technical_child   that process: limits from inside, one request, one answer
    opening           which formats and streams are accepted, and what the container says
    structure         what the bytes promise about their own end, read without FFmpeg
    survey            the one pass over all packets, and what is damaged
    tracks            one decoded stream each: filters, series, counts of trouble
    measurements      what the series say about a stretch of time
    report            segments, metadata and sentences
    technical_prompt  the fixed prompt, with the schemas that the results obey
    sample_clips      small media made on the spot, for the demo and the tests

Only the child and `sample_clips` load FFmpeg; the daemon never does.
"""

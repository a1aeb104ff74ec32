# Made-up words in the layout of RULER's niah.py.
needle = "One odd {type_needle_v} of {key}: {value}."
if type_haystack == 'essay':
    haystack = re.sub(r'\s+', " ", essay).split(" ")
elif type_haystack == 'noise':
    haystack = "It rains. It pours. It is wet again."

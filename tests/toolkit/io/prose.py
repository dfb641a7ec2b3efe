"""Film reviews in our own words, in many languages, and the encodings that such files come in."""

from __future__ import annotations

PROSE = {
    "ko": (
        "어제 친구랑 같이 보러 갔는데 생각보다 훨씬 재미있었어요. 초반에는 조금 지루했지만 중간부터 이야기가 "
        "빨라져서 시간 가는 줄 몰랐습니다. 배우들의 연기도 자연스럽고 특히 할머니 역할을 맡은 분이 정말 인상 "
        "깊었어요. 음악은 너무 크게 나와서 대사가 잘 안 들릴 때가 있었습니다. 결말이 좀 급하게 끝난 느낌이라 "
        "아쉬웠지만 다시 보고 싶은 작품이에요. 아이들과 함께 보기에는 무서운 장면이 많으니 조심하세요. 솔직히 "
        "기대를 많이 했는데 실망했습니다. 줄거리가 뻔하고 웃긴 장면도 별로 없었어요. 표값이 아깝다는 생각이 "
        "들었고 옆자리 사람은 잠을 잤습니다. 그래도 바다를 찍은 화면은 아름다웠고 색감이 따뜻해서 마음이 "
        "편해졌어요. 감독의 다음 영화도 기다려 보겠습니다. 부모님께도 추천했어요."
    ),
    "ja": (
        "昨日友達と一緒に見に行きましたが、思ったよりずっと面白かったです。最初は少し退屈でしたけど、途中から話が"
        "どんどん進んで時間を忘れました。俳優の演技も自然で、特におばあさん役の人がとても印象に残っています。音楽"
        "が大きすぎて、セリフが聞こえないところもありました。ラストは急いで終わらせた感じがして残念でしたが、もう"
        "一度見たい作品です。子供と見るには怖いシーンが多いので気をつけてください。正直に言うと、期待していた分だ"
        "けがっかりしました。ストーリーはありきたりで、笑える場面もほとんどなかった。隣の席の人は寝ていました。そ"
        "れでも海の映像はきれいで、色が暖かくて心が落ち着きました。監督の次の映画も楽しみに待っています。両親にも"
        "すすめました。"
    ),
    "zh": (
        "昨天跟朋友一起去看的,没想到比预期有意思多了。开头有一点闷,不过从中间开始节奏变快,完全忘了时间。演员的表"
        "演很自然,尤其是演奶奶的那位,给我留下了很深的印象。音乐声太大,有几处台词根本听不清楚。结局收得有些仓促,这"
        "一点挺可惜,但我还想再看一遍。带孩子去的家长要注意,吓人的镜头不少。说实话,期待越高失望越大。故事老套,笑点"
        "也不多,旁边的观众直接睡着了,觉得票钱白花了。不过海边的画面拍得很美,颜色温暖,看完心里特别平静。等着导演的"
        "下一部作品,已经推荐给爸妈了。这种小成本的片子现在很少见,希望更多人能走进电影院支持一下。"
    ),
    "zh-tw": (
        "昨天跟朋友一起去看的,沒想到比預期有意思多了。開頭有一點悶,不過從中間開始節奏變快,完全忘了時間。演員的表"
        "演很自然,尤其是演奶奶的那位,給我留下了很深的印象。音樂聲太大,有幾處台詞根本聽不清楚。結局收得有些倉促,這"
        "一點蠻可惜,但我還想再看一遍。帶孩子去的家長要注意,嚇人的鏡頭不少。老實說,期待越高失望越大。故事老套,笑點"
        "也不多,旁邊的觀眾直接睡著了,覺得票錢白花了。不過海邊的畫面拍得很美,顏色溫暖,看完心裡特別平靜。等著導演的"
        "下一部作品,已經推薦給爸媽了。這種小成本的片子現在很少見,希望更多人能走進電影院支持一下。"
    ),
    "ru": (
        "Вчера сходили с друзьями, и фильм оказался гораздо интереснее, чем мы думали. В начале немного скучно, "
        "но с середины действие ускоряется, и время летит незаметно. Актёры играют естественно, особенно "
        "запомнилась женщина в роли бабушки. Музыка местами слишком громкая, диалоги почти не слышно. Концовка "
        "показалась мне скомканной, жаль, но я бы посмотрел ещё раз. С детьми лучше не ходить: много страшных "
        "сцен. Честно говоря, ожидал большего и разочаровался. Сюжет избитый, смешных моментов мало, сосед "
        "просто уснул. Зато море снято красиво, цвета тёплые, после сеанса на душе стало спокойно. Жду следующую "
        "работу режиссёра, родителям уже посоветовал."
    ),
    "de": (
        "Gestern waren wir mit Freunden im Kino, und der Film war viel schöner als erwartet. Am Anfang ist er "
        "etwas zäh, aber ab der Hälfte wird er schneller, und die Zeit verging wie im Flug. Die Schauspieler "
        "wirken natürlich, vor allem die Großmutter hat mich berührt. Die Musik ist stellenweise zu laut, sodass "
        "man die Gespräche kaum hört. Das Ende kam mir überstürzt vor, trotzdem würde ich ihn noch einmal "
        "ansehen. Für Kinder gibt es zu viele gruselige Szenen. Ehrlich gesagt hatte ich mehr erhofft: Die "
        "Geschichte ist abgenutzt, und über die Späße konnte keiner lachen. Mein Nachbar schlief tief. Die "
        "Bilder vom Meer sind dafür großartig, die Farben warm, und draußen fühlte ich mich ganz ruhig."
    ),
    "fr": (
        "Hier nous sommes allés le voir entre amis, et le film était bien meilleur que prévu. Le début traîne un "
        "peu, mais à partir du milieu tout s'accélère et on oublie l'heure. Les acteurs jouent très "
        "naturellement, surtout la grand-mère, qui m'a beaucoup touché. La musique est parfois trop forte, on "
        "n'entend plus les dialogues. La fin m'a semblé bâclée, c'est dommage, mais je le reverrais volontiers. "
        "À éviter avec des enfants : trop de scènes effrayantes. Franchement, j'espérais mieux et j'ai été déçu. "
        "L'histoire est usée, les gags sont rares, mon voisin s'est endormi. En revanche la mer est filmée avec "
        "cœur, les couleurs sont chaudes, et je suis sorti apaisé. J'attends déjà la suite, ça me plaît."
    ),
    "es": (
        "Ayer fuimos a verla con unos amigos y la película resultó mucho más divertida de lo que esperábamos. Al "
        "principio se hace lenta, pero desde la mitad todo va más rápido y uno se olvida del reloj. Los actores "
        "están muy naturales, sobre todo la señora que hace de abuela: me llegó al corazón. La música suena "
        "demasiado alta y no se oían los diálogos. El final me pareció precipitado, una lástima, pero la "
        "volvería a ver. ¿Con niños? Mejor no, hay muchas escenas de miedo. La verdad, esperaba más y salí "
        "decepcionado. La historia está muy vista, había pocos chistes y el señor de al lado se durmió. Aun así, "
        "el mar está filmado con cariño, los colores son cálidos y salí tranquilo. ¡Qué ganas de ver la próxima!"
    ),
    "pl": (
        "Wczoraj poszliśmy z przyjaciółmi do kina i film okazał się dużo ciekawszy, niż myśleliśmy. Początek "
        "trochę się dłuży, ale od połowy akcja przyspiesza i czas płynie niezauważenie. Aktorzy grają "
        "naturalnie, szczególnie zapamiętałem babcię. Muzyka bywa zbyt głośna, więc nie słychać rozmów. "
        "Zakończenie wydało mi się pośpieszne, szkoda, ale obejrzałbym jeszcze raz. Z dziećmi lepiej nie iść: "
        "dużo strasznych scen. Szczerze mówiąc, oczekiwałem więcej i się zawiodłem. Historia jest oklepana, "
        "śmiesznych chwil mało, a mój sąsiad zasnął. Za to morze sfilmowano pięknie, kolory są ciepłe i "
        "wyszedłem spokojny. Czekam już na następną część, rodzicom też poleciłem."
    ),
}
ENCODINGS = {  # of each language, as Python names the codec
    "ko": ("euc_kr", "cp949"),
    "ja": ("cp932", "euc_jp"),
    "zh": ("gb18030",),
    "zh-tw": ("big5",),
    "ru": ("cp1251", "koi8_r"),
    "de": ("cp1252", "mac_roman"),
    "fr": ("cp1252", "mac_roman"),
    "es": ("cp1252",),
    "pl": ("cp1250", "iso8859_2"),
}
LENGTHS = (5, 10, 20, 50, 100, 200)


def samples(language: str, length: int) -> list[str]:
    """Return pieces of a language's prose of `length` characters that hold more than ASCII."""
    text = PROSE[language]
    pieces = [text[start : start + length] for start in range(0, len(text) - length, max(3, length // 4))]
    return [piece for piece in pieces if not piece.isascii()]

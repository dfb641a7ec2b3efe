"""How often characters occur in prose, language by language: what an unknown encoding is recognised by.

A table is coarse on purpose: it has to tell a language from bytes read by the wrong codec, not from its neighbours.
The commonest characters come first. Sources: published lists of frequencies of characters, and film reviews.
"""

from __future__ import annotations

# Chinese: the first 100 are two fifths of running text, all of them about three quarters.
HAN_SIMPLIFIED = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都"
    "同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由"
    "问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真"
    "论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空"
    "决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识"
    "候带导争运笑爱哭故影片演剧喜欢值推荐音乐画角男孩童深细节奏情绪精彩感动节拍摄镜差烂失极慢快久完美结尾开头台词评价票房周末朋友妈爸晚夜睡"
    "脸泪苦乐悲笑幽默惊悚恐怖怪恶善良勇敢温暖冷静热闹简单复杂普通糟糕不错每另件位吗呢吧啊哦嘛谁哪怎样够虽仍旧似乎甚竟居毕究竟整段句字写读讲"
)
# The characters that traditional writing has another form for, in pairs.
_PAIRS = (
    "这這个個们們来來为為国國说說时時会會对對过過发發后後里裡种種经經么麼学學现現当當没沒动動还還进進样樣开開从從实實军軍无無与與长長机機关關"
    "点點业業将將两兩间間问問并並应應战戰头頭体體见見产產话話内內给給门門儿兒东東声聲员員论論处處义義几幾认認条條气氣题題尔爾别別变變总總电電"
    "数數报報结結务務场場计計资資许許统統区區队隊决決马馬书書则則听聽达達强強难難权權设設记記类類据據边邊张張该該规規万萬觉覺术術领領确確传傳"
    "师師观觀让讓识識带帶导導争爭运運爱愛剧劇欢歡荐薦乐樂画畫细細节節绪緒极極烂爛台臺词詞评評价價妈媽脸臉泪淚惊驚怖怖恶惡温溫热熱闹鬧简簡单單"
    "复複杂雜错錯够夠虽雖旧舊毕畢写寫读讀讲講谁誰样樣拍拍摄攝镜鏡块塊钱錢岁歲写寫线線继繼续續级級组組红紅约約终終绝絕网網着著却卻静靜吗嗎"
)
HAN_TRADITIONAL = HAN_SIMPLIFIED.translate(str.maketrans(_PAIRS[::2], _PAIRS[1::2]))
HAN_PUNCTUATION = "，。！？、：；“”‘’（）《》—…「」『』·～　"

HIRAGANA = (
    "のにいたはをとるがてでしなかっすれもうらりまさあよんこきくだそえけどおわつめみやせじょちほへゃゅびばごげぎぐずぞづべぶぼぱぴぷぺぽむぬねひふ"
    "ろゆざぜぁぃぅぇぉゎぢゐゑを"
)
KATAKANA = (
    "ーンスルトリクイラドレアシフジロマカテコタプサグムデオニメバツチキッブホウセパミハエビノベナズソワユダポケモヤピペボョャュヒヘネヨガゴゲギザゼ"
    "ゾヂヅゥェォィァヌヴ・"
)
KANA_PUNCTUATION = "、。！？「」『』（）…　〜々"
KANJI = (
    "日一人年大本中出国時事行見月分者生上下子前後間長今何手自私思言気場方映画作品話面白好感動最高良監督主公物語女男会社学校先新同地立合対入回部"
    "全当度的理意味心知情体力発表現実体内外目性通点所家族親父母友達恋愛死名声音楽曲歌演技役俳優脚編集像色光美水火金木土夜朝夕昼明暗食飲読書聞"
    "来帰着使始終開閉持待変化続結果原因問題解決説観客笑泣涙怒怖悲喜驚不思議無有多少小早遅強弱重軽深浅広狭古若元正直真素晴期残念期待以次第番組"
    "二三四五六七八九十百千万円週末特別別普段簡単難違必要世界戦争平和歴史時代未過去関係展開描伏線構成完璧傑秀駄退屈眠価値割引込切取出付受向"
)

# Korean: the first 100 are about two thirds of running text, all of them nine tenths.
HANGUL = (
    "이다는을의에가고하지은를로도사한기리어나그서라아자인해시일들과정보여있것대만수부안스주원없제장게으며모전음화무연우내구조요면상세거동였았었네와"
    "마소영선경신성했습니까데방미러말던오더물생좋너려저봤재감배진잘되됐많볼중때문같느낌적계현간관발공산당민유통양위비외반차분국남김박최강회실법용"
    "치운불복심입금명개력체행결형야드트타르크프레바파카터테니티피포호디노코루초추토투후히하할함합했된될됩는란런림립름를린맞매먼멋며몇못몰무묘밋바"
    "밝밤백번벌범변별병본봐부분빠빨뻔사살삶새색설섬속손솔송쇼순술숨쉬쉽슬슴싶써쓰씨악않알앞애액약얘억언얼엄없엔열염예완왜욕울움웃워월육으음응의"
    "잊작잡적절점접제족존종죄죽준줄즐증직질집짜째쪽찍찬참창찾채책처천철첫청쳐촬축출충취층친칠컷켜콘큰킬탄탈태택텐특틀팬편평폭표품필학향허험혀협혼"
    "확환황효훌훨흐흥희힘께꼭끝끼난날낮낳낸년놀농높놓눈늘닌닐답덕던돈돌됨두둘둥뒤듣든들딸떠떤또뚜뛰락랑래량려력련례록론료류률른릴길겁겠격견"
)
HANGUL_PUNCTUATION = "，。！？…“”‘’·「」《》―～"

# Alphabets: the letters of a language beyond ASCII, the commonest first.
RUSSIAN = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё"
UKRAINIAN = "оаинвтеріслкудмпзягьбчхйжїшюцєщфґ"
BULGARIAN = "аиеотнрсвлкдпмзъгубчяйжщшцхюфь"
GREEK = "αοιετσνηυρπκμλςίόάγέήωδχύθφβξώζψϊϋ"
SERBIAN = "аоиејнрстувкдмлпгзбњљцчшжћђхфџ"
MACEDONIAN = "аоиетнрвсдклпмујзгбчцшжѓќљњѕџхф"
BELARUSIAN = "аінеоылрскдтяувпзмьгбчцйўжшхэюфё"
HEBREW = "יוהלארתבשמנחדעכקפםסצגטןזךץף־׳״"
ARABIC = "الينمتروبةدسعفكهحقجىصشطأخإزذغضثظءئؤآ،؟\u064e\u0651\u064f\u0650\u064b\u0652\u064c\u064d"
PERSIAN = "ایرندهمتوبسشکلزفقعخجحصگپچطضظثذغژآئ\u200c،؟"
THAI = "านรอกเงมยลวดทสตะปบคหแจพชขใไโผซถฟศณญธษฉฏฐภฮฬฆฑฒฌฎ่้ัีิูุืำ็์๊๋ๆฤ"
WESTERN_PUNCTUATION = "’“”–—…\u00a0€«»‘„°£‚•·×©®"
LATIN = {
    "en": "’éèçêñöü",
    "fr": "éèàêçôîùûâëœïÉÀÊ",
    "de": "üäößÜÄÖ",
    "es": "óáíéñú¿¡ü",
    "it": "èàòùéìÈ",
    "pt": "ãçáéóíõêâúàô",
    "nl": "ëéïóöèü",
    "sv": "äåöéÅÄÖ",
    "da": "øæåéØÅÆ",
    "is": "áíðéóþúýöæÞ",
    "pl": "łęążóśćńźŻŚŁ",
    "cs": "íáěéřýčžšůúťňďóŠČ",
    "sk": "áíéčýžľšťúňôďäĽ",
    "hu": "áéöóőüíúű",
    "ro": "ăâîșțşţ",
    "hr": "čšžćđŠČ",
    "tr": "ıüşğçöİÇŞ",
    "fi": "äöåÄÖ",
    "ca": "àéèóíçòúïüÀ",
    "et": "äõüöšž",
    "eo": "ĉĝŝŭĵĥ",
    "vi": "ư\u0301\u0300đâ\u0323ôêơ\u0309ăáàãéèíóúùý\u0303",
    "lt": "ėįšųąžčūęŠ",
    "lv": "āīēšūņļčķžģ",
}
# Short words of ASCII letters that a language is full of.
WORDS = {
    "en": "the and of to it is was you that this with for not but are they have very just so my at be on",
    "fr": "le la les et est un une de des du que qui pas dans pour ce il elle je on en plus par sur avec mais se",
    "de": "und der die das ist nicht ein eine ich mit zu den auf sich dem war es aber im so auch wie man von zum als",
    "es": "que el la los las de y en un una por con no se su es lo del al me pero muy hay uno como para",
    "it": "che di il la non un una per con sono ma si del della le i gli da lo ha mi molto alla nel",
    "pt": "que o a os as de e em um uma por com se do da no na mais muito para foi ao dos das mas",
    "nl": "de het een en van ik is niet dat op te zijn met voor maar er ook aan was je wel nog",
    "sv": "och att det i en som av den inte med var jag till ett man men om har vi bra mycket",
    "da": "og at det i en som af den ikke med var jeg til et man men om har vi er meget godt",
    "is": "og er ekki var hann en um til sem vel hef",
    "pl": "i w na z do nie to jest ze za po o od ale tak jak co go mu film czy dla by juz tym tego mi",
    "cs": "a je na to se v ze ale jak co do za pro film jsem by tak po od si mi s",
    "sk": "a je na to sa v ale ako do za pre film som by tak po od si mi s nie",
    "hu": "a az nem egy hogy is de volt van ez meg csak film mint el ki ha nagyon",
    "ro": "de la nu un o cu pe din care este mai dar am fost film ce sa lui pentru sau prin foarte",
    "hr": "i je na to se u da ne za film sam ali bi od su s kao vrlo",
    "tr": "bir ve bu da de ne ama film gibi kadar var daha en iyi ben o ki mi olan",
    "fi": "ja on ei se en oli ett niin kuin mutta hyvin jos voi kun ovat",
    "ca": "que el la els les de i en un una per amb no es del al molt com",
    "et": "ja on ei see et oli kui ka aga ma ta mis ning",
    "eo": "la kaj de en estas ne al por mi ke kun",
    "vi": "trong cho khi kh con hay phim xem ng ra thay em anh",
    "lt": "ir tai kad bet yra su ne filmas labai kaip per ar buvo",
    "lv": "un ir ka bet ar no tas filma par uz bija ne",
}
